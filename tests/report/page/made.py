"""Synthetic runs with predictions and curves: `python tests/report/page/made.py FOLDER 500` writes 500.

They serve to measure time and size of a report: `/usr/bin/time -v wrnexp report FOLDER`.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from wrnexp.runs.record import Cost, DataInfo, Record, write_metrics, write_record

DROPOUT, SMOOTHING = (0.0, 0.15, 0.3), (0.0, 0.1, 0.2)
PROVENANCE = {
    "git_commit": "28e0455",
    "git_dirty": False,
    "python": "3.11.9",
    "torch": "2.14.1",
    "device": "NVIDIA H200",
}


def answers(
    chance: np.random.Generator, labels: np.ndarray, classes: int, skill: float, sure: float = 2.0
) -> np.ndarray:
    """Return float16 logits `[N, classes]`; accuracy grows with `skill`, confidence with `sure`."""
    logits = chance.standard_normal((len(labels), classes))
    logits[np.arange(len(labels)), labels] += skill
    return (sure * logits).astype(np.float16)


def write_run(
    folder: Path,
    config: dict[str, Any],
    seed: int,
    *,
    images: int,
    classes: int,
    epochs: int,
    skill: float,
    **fields: Any,
) -> Path:
    """Write one completed run with curves and predictions; `val` adds validation logits."""
    chance = np.random.default_rng([seed, int(1000 * skill), 7])
    labels = np.sort(np.arange(images) % classes)
    logits = answers(chance, labels, classes, skill)
    stored = {"logits": logits, "labels": labels}
    if fields.pop("val", False):
        truth = np.arange(images // 2) % classes
        stored |= {"val_logits": answers(chance, truth, classes, skill), "val_labels": truth}
    accuracy = float((logits.argmax(1) == labels).mean())
    label = fields.pop("label")
    digest = fields.pop("digest", {"train": "36ce", "test": "d3cd"})
    # As in real runs, most of the progress is early, with some noise.
    shape = (1 - np.exp(-5 * np.arange(1, epochs + 1) / epochs)) + 0.01 * chance.standard_normal(epochs)
    write_record(
        folder,
        Record(
            status="completed",
            run_id=f"{label}-{seed}".replace(" ", "-"),
            arm_id=f"arm-{label}",
            label=label,
            seed=seed,
            config=config | {"seed": seed},
            metrics={"test_accuracy": accuracy, "test_nll": 1.2, "test_ece": 0.05},
            cost=Cost(
                start_seconds=5.0,
                compile_seconds=0.0,
                train_seconds=900.0 + 10 * chance.random() + 1000 * skill,
                peak_memory_bytes=2**33,
                parameters=11_007_540,
            ),
            data=DataInfo(name="cifar100", digest=digest, train=45_000, val=5000, test=images),
            test_looks=epochs,
            provenance=PROVENANCE,
            **fields,
        ),
    )
    rows = [
        {"epoch": epoch, "lr": 0.1, "train_loss": 4.6 - 4 * share, "test_accuracy": accuracy * share, "seconds": 10.0}
        for epoch, share in enumerate(shape.clip(0.01, 1).tolist(), start=1)
    ]
    write_metrics(folder, rows)
    np.savez_compressed(folder / "predictions.npz", **stored)  # type: ignore[arg-type]
    return folder


def write_grid(
    folder: Path,
    seeds: int,
    *,
    images: int = 1000,
    classes: int = 100,
    epochs: int = 20,
    arms: int = 9,
    val: bool = True,
) -> Path:
    """Write a factorial of dropout and label smoothing; with more than 9 arms, it is not a two-factor study."""
    cells = [
        {"model": {"dropout": dropout}, "optim": {"label_smoothing": smoothing, "turn": turn}}
        for turn, dropout, smoothing in product(range(-(-arms // 9)), DROPOUT, SMOOTHING)
    ]
    for number, config in enumerate(cells[:arms]):
        dropout, smoothing = config["model"]["dropout"], config["optim"]["label_smoothing"]
        label = f"light model.dropout={dropout},optim.label_smoothing={smoothing}"
        label += f",optim.turn={config['optim']['turn']}" if arms > 9 else ""
        for seed in range(seeds):
            skill = 2.6 + 0.02 * number
            size: dict[str, Any] = {"images": images, "classes": classes, "epochs": epochs, "skill": skill}
            write_run(folder / f"{number}-{seed}", config, seed, label=label, val=val, **size)
    return folder


if __name__ == "__main__":
    where, runs = Path(sys.argv[1]), int(sys.argv[2])
    write_grid(where, 5, images=10_000, epochs=100, arms=-(-runs // 5), val=False)
