"""Runs that are killed while a checkpoint is being written, again and again, against a run that is left alone."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wrnexp.records import MEASURED, read_metrics, read_record

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")]

ROOT = Path(__file__).parents[1]
KILLS = 40
# A checkpoint of 17 MiB per epoch, written for about a third of the epoch.
CHANGES = [
    "model.width=4", "model.depth=10", "model.dropout=0.3", "optim.epochs=60", "trainer.ema=0.9", "data.val_size=16",
    "trainer.checkpoint_seconds=0",
]  # fmt: skip


def begin(folder: Path, overrides: list[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, ROOT / "run.py", *overrides, *CHANGES, f"hydra.run.dir={folder}"],
        cwd=folder.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def results(folder: Path) -> dict[str, object]:
    """Return all that a run computed: bytes of its files, and its figures without those that are measured."""
    rows = [{key: value for key, value in row.items() if key not in MEASURED} for row in read_metrics(folder)]
    files = {name: (folder / name).read_bytes() for name in ("predictions.npz", "model.safetensors")}
    return {"rows": json.dumps(rows), "metrics": read_record(folder).metrics, **files}


@pytest.mark.timeout(1800)
def test_every_resume_after_a_kill_while_a_checkpoint_is_written_is_byte_identical(
    tmp_path: Path, tiny_overrides: list[str]
) -> None:
    assert begin(tmp_path / "whole", tiny_overrides).wait() == 0
    expected = results(tmp_path / "whole")
    moments, kills, inside = random.Random(0), 0, 0
    while kills < KILLS:
        folder = tmp_path / f"killed-{kills}"
        for _ in range(10):  # kills of one run, each in the process that resumed after the one before
            writing = folder / "checkpoints" / "last.writing"
            process = begin(folder, tiny_overrides)
            for _ in range(moments.randint(1, 4)):  # checkpoints of this process
                while writing.exists() and process.poll() is None:
                    time.sleep(0.0002)
                while not writing.exists() and process.poll() is None:
                    time.sleep(0.0002)
            time.sleep(moments.uniform(0, 0.02))
            process.kill()
            assert process.wait() == -9, "the run was over before it was killed"
            inside += writing.exists()
            kills += 1
        assert begin(folder, tiny_overrides).wait() == 0
        assert results(folder) == expected
    assert inside > KILLS // 4  # the others came just after the file had been renamed
    print(f"{kills} kills, {inside} of them while the file was being written")
