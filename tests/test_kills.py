"""Runs that are killed again and again, while they write a checkpoint and at any moment, against runs left alone."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wrnexp.runs.locks import is_locked as is_held
from wrnexp.runs.record import MEASURED, read_metrics, read_record

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")]

ROOT = Path(__file__).parents[1]
KILLS = 40
# A checkpoint of 17 MiB per epoch, written for about a third of the epoch.
CHANGES = [
    "model.width=4", "model.depth=10", "model.dropout=0.3", "optim.epochs=60", "trainer.ema=0.9", "data.val_size=16",
    "trainer.checkpoint_seconds=0",
]  # fmt: skip


# Twelve configurations for kills at random moments; each run trains for a few seconds.
KILLS_EACH = 5
LONGER = ["optim.epochs=25", "data.train_limit=192", "trainer.checkpoint_seconds=0", "model.dropout=0.3"]
CONFIGURATIONS = {
    "plain": [],
    "default interval": ["trainer.checkpoint_seconds=null"],
    "two workers": ["loader.workers=2"],
    "persistent workers": ["loader.workers=2", "loader.persistent_workers=true", "data.val_size=24"],
    "resident": ["loader=resident"],
    "resident, average": ["loader=resident", "trainer.ema=0.9", "data.val_size=24"],
    "accumulation": ["optim.accumulate=3", "loader.drop_last=true"],
    "average": ["trainer.ema=0.9", "optim.clip_norm=0.5"],
    "mixup": ["augment.mixup=0.4", "augment.policy=randaugment"],
    "CutMix": ["augment.cutmix=1.0", "loader.workers=2"],
    "rollback": ["trainer.on_divergence=rollback", "optim.lr=3", "optim.schedule.warmup_epochs=0"],
    "two processes": ["trainer.devices=2", "trainer.device=cpu", "optim.epochs=12"],
}


def begin(folder: Path, overrides: list[str], changes: list[str] = CHANGES) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, ROOT / "run.py", *overrides, *changes, f"hydra.run.dir={folder}"],
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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_resume_after_a_kill_at_a_random_moment_is_byte_identical(
    tmp_path: Path, tiny_overrides: list[str], name: str
) -> None:
    changes = LONGER + CONFIGURATIONS[name]
    start = time.monotonic()
    assert begin(tmp_path / "whole", tiny_overrides, changes).wait() == 0
    seconds = time.monotonic() - start
    expected = results(tmp_path / "whole")
    epochs = len(read_metrics(tmp_path / "whole"))
    moments, kills, within = random.Random(name), 0, 0
    while kills < KILLS_EACH:
        folder = tmp_path / f"killed-{kills}"
        for longest in (0.9, 0.4):  # the second kill hits the process that resumes after the first
            process = begin(folder, tiny_overrides, changes)
            time.sleep(moments.uniform(0, seconds * longest))
            process.kill()
            killed = process.wait() == -9
            wait_until_released(folder)
            kills += killed
            within += killed and 0 < len(read_metrics(folder)) < epochs
        assert begin(folder, tiny_overrides, changes).wait() == 0
        assert results(folder) == expected
    print(f"{name}: {kills} kills, {within} of them after the first epoch and before the last")


def wait_until_released(folder: Path) -> None:
    """Wait for the other processes of a run whose first one was killed: they end at their next step."""
    while folder.exists() and is_held(folder):
        time.sleep(0.1)
