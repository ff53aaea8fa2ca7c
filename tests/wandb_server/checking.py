"""Whether a run at the server is what the files of its folder say."""

import json
from pathlib import Path
from typing import Any

from tests.wandb_server.state import Run


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics.jsonl without what was not measured."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if value is not None} for line in lines]


def check(run: Run, folder: Path) -> None:
    """Fail where the history or the summary of a run is not that of the record."""
    kept = rows(folder)
    told = [{key: row[key] for key in row if not key.startswith(("_", "media/"))} for row in run.epochs]
    assert told == kept
    assert [row["_step"] for row in run.epochs] == [row["epoch"] for row in kept]
    record = json.loads((folder / "record.json").read_text())
    wanted = record["metrics"] | record["cost"] | {f"time_to/{key}": value for key, value in record["time_to"].items()}
    wanted |= {key: record[key] for key in ("test_looks", "status", "error")}
    # Of a run that did not end, what the record does not say yet stands there as its last row has it.
    wanted = {key: value for key, value in wanted.items() if value is not None or not kept or key not in kept[-1]}
    shown = {key: run.summary.get(key) for key in wanted}
    assert shown == wanted, {key: (shown[key], wanted[key]) for key in wanted if shown[key] != wanted[key]}
    assert run.state == ("finished" if record["status"] == "completed" else "failed")
