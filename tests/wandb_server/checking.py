"""Compares a run at the server with the files of its folder."""

import json
from pathlib import Path
from typing import Any

from tests.wandb_server.state import Run


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without missing values."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if value is not None} for line in lines]


def check(run: Run, folder: Path) -> None:
    """Assert that history and summary of a run equal those of the record."""
    expected_rows = rows(folder)
    logged_rows = [{key: row[key] for key in row if not key.startswith(("_", "media/"))} for row in run.epochs]
    assert logged_rows == expected_rows
    assert [row["_step"] for row in run.epochs] == [row["epoch"] for row in expected_rows]
    record = json.loads((folder / "record.json").read_text())
    expected = (
        record["metrics"] | record["cost"] | {f"time_to/{key}": value for key, value in record["time_to"].items()}
    )
    expected |= {key: record[key] for key in ("test_looks", "status", "error")}
    # The summary of an unfinished run has the values of its last row where the record has none yet.
    expected = {
        key: value
        for key, value in expected.items()
        if value is not None or not expected_rows or key not in expected_rows[-1]
    }
    summary = {key: run.summary.get(key) for key in expected}
    assert summary == expected, {
        key: (summary[key], expected[key]) for key in expected if summary[key] != expected[key]
    }
    assert run.state == ("finished" if record["status"] == "completed" else "failed")
