"""Runs that are spread over devices, as their users start them, against runs on one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from wrnexp import app
from wrnexp.errors import UserError
from wrnexp.runs.record import MEASURED, Record, find_record, read_metrics, read_record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

ROOT = Path(__file__).parents[1]
TWO = ["trainer.device=cpu", "trainer.devices=2"]
# 5 images in the last step; no dropout, whose masks are each process's own; a rate at which rounding does not grow.
SAME = ["data.train_limit=101", "model.dropout=0", "optim.lr=0.001"]


def run(folder: Path, *arguments: str, torchrun: int = 0) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(torchrun)] if torchrun else []
    return subprocess.run(
        [sys.executable, *launcher, ROOT / "run.py", *arguments, "hydra.run.dir=run"],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=280,
    )


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a run that would take long; return it once an epoch is done."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments, "hydra.run.dir=run"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not (folder / "run" / "metrics.jsonl").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def children(parent: int) -> list[int]:
    """Return the processes that share a run, those that Python's multiprocessing has spawned."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parts = (path / "stat").read_text().rsplit(")", 1)[1].split()
            if int(parts[1]) == parent and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (OSError, IndexError):
            continue
    return sorted(found)


def assert_gone(processes: Iterable[int]) -> None:
    deadline = time.monotonic() + 20
    while alive := [pid for pid in processes if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def assert_same_curve(folder: Path, other: Path) -> None:
    rows, expected = read_metrics(folder), read_metrics(other)
    for row, one in zip(rows, expected, strict=True):
        for key in ("epoch", "step", "lr", "train_loss", "test_loss"):
            assert row[key] == pytest.approx(one[key], rel=1e-3), key
        # Float32's rounding shows here first: NHWC against NCHW in one process differ by 2% after 20 epochs.
        assert row["grad_norm"] == pytest.approx(one["grad_norm"], rel=5e-2)


def test_two_devices_train_as_one(tmp_path: Path, tiny: Callable[..., DictConfig], tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, *SAME, "optim.accumulate=2"]
    done = run(tmp_path, *arguments, *TWO, "tracking.console.progress=lines")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("epoch 1/2") == 1
    alone = app.run(tiny(*SAME, "trainer.device=cpu", "optim.accumulate=2"), tmp_path / "alone")
    found = read_record(tmp_path / "run")
    assert found.status == "completed"
    assert (found.run_id, found.cost.images, found.cost.steps) == (alone.run_id, alone.cost.images, alone.cost.steps)
    assert (found.test_looks, found.data) == (alone.test_looks, alone.data)
    assert found.provenance["devices"] == 2
    assert alone.provenance["devices"] == 1
    assert_same_curve(tmp_path / "run", tmp_path / "alone")
    logits, expected = (np.load(one / "predictions.npz") for one in (tmp_path / "run", tmp_path / "alone"))
    assert np.array_equal(logits["labels"], expected["labels"])
    np.testing.assert_allclose(logits["logits"], expected["logits"], atol=2e-3)
    names = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert names == {
        ".lock", ".writer.lock", "record.json", "metrics.jsonl", "predictions.npz", "model.safetensors", "curves.png",
        "last.pt", "config.yaml", "hydra.yaml", "overrides.yaml", "run.log",
    }  # fmt: skip


def test_more_gpus_than_there_are_end_the_run_before_it_starts(
    tmp_path: Path, tiny: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match=r"trainer\.devices=2 is more than the 1 GPUs"):
        app.run(tiny("trainer.device=cuda", "trainer.devices=2"), tmp_path)
    assert read_record(tmp_path).status == "failed"


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["loader.workers=2", "augment=light"],
        ["loader._target_=wrnexp.data.ResidentLoader", "augment.mixup=0.2"],
        ["loader.drop_last=true", "trainer.ema=0.9", "optim.clip_norm=0.1", "data.val_size=10"],
        ["trainer.devices=3", "loader.batch_size=50", "trainer.memory_budget=0.5"],  # one image in the last step
        ["trainer.devices=3", "loader.batch_size=50", "loader.backend=torchvision"],
        ["trainer.compile=true", "loader.batch_size=50", "optim.epochs=1", "optim.schedule.warmup_epochs=0"],
    ],
    ids=lambda more: more[0] if more[0] != "trainer.devices=3" else more[-1],
)
def test_whatever_loads_and_computes(
    tmp_path: Path, tiny: Callable[..., DictConfig], tiny_overrides: list[str], more: list[str]
) -> None:
    done = run(tmp_path, *tiny_overrides, *SAME, *TWO, *more)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    app.run(
        tiny(*SAME, *(one for one in more if one.split("=")[0] not in ("trainer.devices", "trainer.compile"))),
        tmp_path / "alone",
    )
    assert_same_curve(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_in_one_line_and_the_run_goes_on(
    tmp_path: Path, tiny: Callable[..., DictConfig], tiny_overrides: list[str], rank: int
) -> None:
    arguments = [*tiny_overrides, *SAME, "optim.epochs=30"]
    process = begin(tmp_path, *arguments, *TWO, "loader.workers=2")
    shared = children(process.pid)
    assert len(shared) == 2
    os.kill(shared[rank], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1
    assert "of the 2 that share this run was killed by SIGKILL" in errors
    record = read_record(tmp_path / "run")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("TrainingError: process ")
    assert_gone(shared)
    assert run(tmp_path, *arguments, *TWO).returncode == 0
    app.run(tiny(*arguments[len(tiny_overrides) :]), tmp_path / "alone")
    assert_same_curve(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR2, 140), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_all_and_another_number_of_devices_goes_on(
    tmp_path: Path, tiny: Callable[..., DictConfig], tiny_overrides: list[str], number: signal.Signals, code: int
) -> None:
    arguments = [*tiny_overrides, *SAME, "optim.epochs=30"]
    process = begin(tmp_path, *arguments, *TWO)
    shared = children(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert_gone(shared)
    record = find_record(tmp_path / "run")
    assert isinstance(record, Record)
    assert record.status == "interrupted"
    assert run(tmp_path, *arguments, "trainer.device=cpu").returncode == 0
    app.run(tiny(*arguments[len(tiny_overrides) :]), tmp_path / "alone")
    assert_same_curve(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_a_stopped_run_on_two_devices_goes_on_bit_for_bit(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, "optim.epochs=12", "trainer.ema=0.9", "optim.clip_norm=0.5", *TWO]  # with dropout
    (tmp_path / "whole").mkdir()
    assert run(tmp_path / "whole", *arguments).returncode == 0
    process = begin(tmp_path, *arguments)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert run(tmp_path, *arguments).returncode == 0
    rows, expected = (read_metrics(folder / "run") for folder in (tmp_path, tmp_path / "whole"))
    for row in (*rows, *expected):
        for key in MEASURED:
            del row[key]
    assert rows == expected
    logits, others = (np.load(one / "run" / "predictions.npz")["logits"] for one in (tmp_path, tmp_path / "whole"))
    assert np.array_equal(logits, others)


@pytest.mark.slow
def test_jobs_of_a_sweep_on_two_devices(tmp_path: Path, tiny_overrides: list[str]) -> None:
    done = run(tmp_path, "-m", *tiny_overrides, *SAME, *TWO, "optim.lr=0.001,1e30", "hydra.sweep.dir=sweep")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    records = [read_record(path.parent) for path in (tmp_path / "sweep").glob("*/record.json")]
    assert sorted(record.status for record in records) == ["completed", "failed"]


@pytest.mark.slow
def test_torchrun(tmp_path: Path, tiny: Callable[..., DictConfig], tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, *SAME, "trainer.device=cpu"]
    done = run(tmp_path, *arguments, torchrun=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert read_record(tmp_path / "run").provenance["devices"] == 2
    app.run(tiny(*SAME), tmp_path / "alone")
    assert_same_curve(tmp_path / "run", tmp_path / "alone")
    assert run(tmp_path, *arguments, torchrun=2).stdout.count("complete already") == 1
    assert run(tmp_path, "--cfg", "job", torchrun=2).stdout.count("depth: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.droput=0.1"], "did you mean model.dropout?"),
        (["trainer.devices=3"], "trainer.devices=3 under torchrun, which has started 2 processes: use 2"),
        (["trainer.sync_batchnorm=false"], "trainer.devices=1 under torchrun"),
        (["-m", "seed=0,1"], "a sweep under torchrun"),
        (["-m", "hydra/sweeper=search", "optim.lr=0.1,0.2", "data.val_size=24"], "a sweep under torchrun"),
        (["loader.batch_size=200"], "loader.batch_size=200 is more than the 96 training images"),
    ],
)
def test_a_mistake_under_torchrun_is_told_once(
    tmp_path: Path, tiny_overrides: list[str], arguments: list[str], words: str
) -> None:
    flags = [one for one in arguments if one == "-m"]
    rest = [one for one in arguments if one != "-m"]
    done = run(tmp_path, *flags, *tiny_overrides, *rest, "trainer.device=cpu", torchrun=2)
    assert done.returncode != 0
    assert done.stderr.count(words) == 1
    assert not list(tmp_path.rglob("metrics.jsonl"))
