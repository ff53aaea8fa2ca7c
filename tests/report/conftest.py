"""Records made by hand, written as runs write them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from wrnexp.runs.record import Cost, DataInfo, Record, write_metrics, write_record

WriteRun = Callable[..., Path]

CONFIGS: dict[str, dict[str, Any]] = {
    "base": {"model": {"depth": 28, "width": 10}, "optim": {"epochs": 100}, "trainer": {"device": "auto"}},
    "light": {"model": {"depth": 16, "width": 8}, "optim": {"epochs": 85}, "trainer": {"device": "auto"}},
}
DATA = {"name": "cifar100", "digest": {"train": "36ce7a70", "test": "d3cd5d87"}}
PROVENANCE = {"git_commit": "28e0455", "git_dirty": False, "python": "3.11.9", "torch": "2.14.1"}


def _rows(curve: Sequence[float | None]) -> list[dict[str, Any]]:
    """Return lines of metrics.jsonl for a curve of test accuracy."""
    return [
        {"epoch": epoch, "lr": 0.1, "train_loss": 4.0 / epoch, "test_accuracy": value, "seconds": 10.0 + epoch}
        for epoch, value in enumerate(curve, start=1)
    ]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Return a function that writes one completed run of CIFAR-100 below `tmp_path/outputs` and returns its folder."""

    def write(
        label: str,
        seed: int,
        accuracy: float | None,
        *,
        folder: str | None = None,
        cost: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        curve: Sequence[float | None] = (),
        **fields: Any,
    ) -> Path:
        arm = fields.setdefault("arm_id", f"arm-{label}")
        where = tmp_path / "outputs" / (folder or f"{label}/{arm}-{seed}")
        fields.setdefault("config", CONFIGS.get(label, {"model": {"kind": label}}) | {"seed": seed})
        fields.setdefault("metrics", {"test_accuracy": accuracy, "test_nll": 1.2, "test_ece": 0.05})
        record = Record(
            **{"run_id": f"run-{label}-{seed}", "status": "completed", "test_looks": 101} | fields,
            label=label,
            seed=seed,
            cost=Cost(
                **{"parameters": 11_007_540, "start_seconds": 5.0, "compile_seconds": 60.0}
                | {"train_seconds": 1000.0 + seed}
                | (cost or {})
            ),
            data=DataInfo(**DATA | {"train": 50_000, "val": 0, "test": 10_000} | (data or {})),
            provenance=PROVENANCE
            | {"device": "NVIDIA H200", "finished": f"2026-01-01T0{seed % 10}:00:00+00:00"}
            | (provenance or {}),
        )
        write_record(where, record)
        write_metrics(where, _rows(curve))
        return where

    return write


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Return the folder that `write_run` writes below."""
    return tmp_path / "outputs"
