"""Write the W&B workspace and two W&B reports, as they are sent, to wandb/ beside this file: `make golden`."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from wrnexp.report.build import gathered
from wrnexp.report.text.summary_text import question
from wrnexp.runs.record import Cost, DataInfo, Record, write_metrics, write_record
from wrnexp.wandb_publish import report as wandb_report
from wrnexp.wandb_publish import workspace

HERE = Path(__file__).parent
GOLDEN = HERE / "wandb"
FACTORIAL = HERE.parents[1] / "results" / "cpu" / "dropout_x_label_smoothing_small"
# Made by hand, to show every kind of sentence: test accuracy of each seed, seconds an epoch, MiB.
ARMS: dict[str, tuple[Sequence[float], float, int]] = {
    "base": ((0.801, 0.806, 0.804), 60.0, 9000),
    "light": ((0.742, 0.749, 0.744), 21.0, 4000),
}


def records(top: Path) -> Path:
    """Write the records of base and light below `top`, 3 seeds each and a fourth that failed; return their folder."""
    sweep = top / "base_vs_light"
    for recipe, (accuracies, seconds, mebibytes) in ARMS.items():
        for seed, accuracy in enumerate(accuracies):
            _write(sweep, recipe, seed, accuracy, seconds, mebibytes)
    failed = Record(status="failed", error="Killed", run_id="light-3", arm_id="arm-light", label="light", seed=3)
    write_record(sweep / "light-3", failed)
    return sweep


def workspace_json() -> str:
    """Return the workspace, indented."""
    made = workspace.workspace("", "")
    return _text({"name": workspace.NAME, "displayName": made.name, "spec": json.loads(workspace.spec(made))})


def report_json(folder: Path) -> str:
    """Return the report on the runs below a folder, indented; its panels name no project, which only a server knows."""
    report = gathered([folder], folder / "report")
    made = wandb_report.writeup(report, wandb_report.titled([folder]))
    return _text(
        {"displayName": made.title, "description": question(report), "spec": json.loads(wandb_report.spec(made))},
    )


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _write(sweep: Path, recipe: str, seed: int, accuracy: float, seconds: float, mebibytes: int) -> None:
    config = yaml.safe_load((HERE / f"{recipe}.yaml").read_text())
    record = Record(
        status="completed",
        run_id=f"{recipe}-{seed}",
        arm_id=f"arm-{recipe}",
        label=recipe,
        sweep="base_vs_light",
        seed=seed,
        config=config | {"seed": seed},
        metrics={"test_accuracy": accuracy, "val_accuracy": accuracy, "test_nll": 1 - accuracy / 2, "test_ece": 0.05},
        cost=Cost(
            parameters=36_536_884 if recipe == "base" else 11_007_540,
            train_seconds=4 * seconds + seed,
            images_per_second=45_000 / seconds,
            peak_memory_bytes=mebibytes * 2**20,
        ),
        test_looks=4,
        data=DataInfo(
            name="cifar100", digest={"train": "36ce7a70", "test": "d3cd5d87"}, train=45_000, val=5_000, test=10_000
        ),
        provenance={"recipe": recipe, "git_commit": "28e0455", "git_dirty": False, "device": "NVIDIA H200"}
        | {"python": "3.11.9", "torch": "2.14.1", "finished": f"2026-01-01T0{seed}:00:00+00:00"},
    )
    write_record(sweep / f"{recipe}-{seed}", record)
    shares = (0.5, 0.8, 0.9, 1.0)
    write_metrics(
        sweep / f"{recipe}-{seed}",
        [
            {"epoch": epoch, "train_loss": 2 - share, "test_accuracy": accuracy * share, "seconds": seconds}
            for epoch, share in enumerate(shares, start=1)
        ],
    )


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        texts = {
            "workspace": workspace_json(),
            "report": report_json(records(Path(folder))),
            "report_factorial": report_json(FACTORIAL),
        }
    for name, text in texts.items():
        (GOLDEN / f"{name}.json").write_text(text)
        print(f"tests/golden/wandb/{name}.json")
