"""Artifacts of a run: damaged files are not uploaded."""

from pathlib import Path
from typing import Any

import pytest

from tests.damage import broken, flipped
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.record import Record
from wrnexp.tracking.wandb.artifacts import log_results

DATA = bytes(range(256)) * 32


class Logged:
    """A fake W&B run that collects the names of logged artifacts."""

    id, offline = "abc", True

    def __init__(self) -> None:
        self.names: list[str] = []

    def log_artifact(self, artifact: Any) -> None:
        self.names.append(artifact.name)


def test_a_damaged_file_is_not_uploaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"model.safetensors": bytes_digest(DATA), "predictions.npz": bytes_digest(DATA)}
    record = Record(run_id="r", arm_id="a", label="base", seed=0, files=files)
    (tmp_path / "predictions.npz").write_bytes(DATA)
    damage = [*flipped(DATA, 3, seed=0), *(data for _, data in broken(DATA, seed=1))]
    for data in [DATA, *damage]:
        (tmp_path / "model.safetensors").write_bytes(data)
        run: Any = Logged()
        log_results(run, record, tmp_path)
        assert run.names == (["model-abc"] if data == DATA else []) + ["predictions-abc"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(damage)
    assert all(
        "model.safetensors is damaged: its content is not what the run wrote; not uploaded" in line for line in lines
    )
