"""Sweeps in processes of their own, and what must not depend on how a sweep was run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from wrnexp.runs.record import read_metrics, read_record

ROOT = Path(__file__).parents[2]
FAULTY = ["model._target_=faulty.net", "+model.how=fine"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), "-m", *arguments]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"} | more


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=240, env=environment(**more)
    )


def figures(sweep: Path) -> dict[str, Any]:
    """Return what must not depend on how a sweep was run: metrics, epochs and the answers on the test set."""
    found = {}
    for path in sweep.glob("*/record.json"):
        record = read_record(path.parent)
        rows = [
            {key: row[key] for key in ("epoch", "step", "lr", "train_loss", "test_loss", "grad_norm")}
            for row in read_metrics(path.parent)
        ]
        found[record.run_id] = (record.status, record.seed, record.label, record.metrics, rows)
    return found


def states(sweep: Path) -> list[tuple[str, str]]:
    jobs = json.loads((sweep / "sweep.json").read_text())["jobs"]
    return [(job["label"], job["state"]) for job in jobs]


def errors(sweep: Path) -> list[str]:
    """Return what went wrong with each job; empty texts where nothing did."""
    return [job["error"] or "" for job in json.loads((sweep / "sweep.json").read_text())["jobs"]]


def times(sweep: Path) -> dict[Path, int]:
    """Return when each completed record was written."""
    paths = sweep.glob("*/record.json")
    return {path: path.stat().st_mtime_ns for path in paths if read_record(path.parent).status == "completed"}
