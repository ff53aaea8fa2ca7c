"""Checkpoints: when they are written, what is in them, and what a kill or a full disk leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wrnexp.engine import checkpoint
from wrnexp.engine.checkpoint import Checkpoints, snapshot
from wrnexp.engine.sealed import load_sealed, save_sealed
from wrnexp.errors import TrainingError, UserError

Make = Callable[..., Any]


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def state(number: int) -> dict[str, Any]:
    return {"number": number, "weights": torch.full((3,), float(number))}


def number(path: Path) -> int | None:
    return int(torch.load(path, weights_only=True)["number"]) if path.exists() else None


def settle(checkpoints: Checkpoints) -> None:
    """Wait for the thread, as time would."""
    if checkpoints._write is not None:
        checkpoints._write.exception()


def slow_writes(monkeypatch: pytest.MonkeyPatch, clock: Clock, seconds: float) -> None:
    written = checkpoint._written

    def slowly(*arguments: Any) -> Path:
        clock.now += seconds
        return written(*arguments)

    monkeypatch.setattr(checkpoint, "_written", slowly)


def test_a_snapshot_is_apart_from_what_training_changes() -> None:
    weight = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last).weight
    original: dict[str, Any] = {
        "model": {"weight": weight},
        "rows": [{"epoch": 1}],
        "pair": (torch.ones(2), None),
        "none": None,
    }
    copied = snapshot(original)
    expected = weight.detach().clone()
    with torch.no_grad():
        weight.zero_()
    original["rows"].append({"epoch": 2})
    original["pair"][0].zero_()
    assert torch.equal(copied["model"]["weight"], expected)
    assert copied["model"]["weight"].stride() == expected.stride()
    assert not copied["model"]["weight"].requires_grad
    assert copied["rows"] == [{"epoch": 1}]
    assert torch.equal(copied["pair"][0], torch.ones(2))
    assert copied["pair"][1] is copied["none"] is None


def test_a_snapshot_keeps_the_versions_of_modules() -> None:
    """torch keeps them beside the items; without them modules take a state for one of an early version."""
    states: Any = torch.nn.Sequential(torch.nn.BatchNorm2d(3)).state_dict()
    copied = snapshot({"model": states})["model"]
    assert copied._metadata == states._metadata
    assert copied["0.bias"] is not states["0.bias"]


def test_what_is_written_is_the_state_at_the_update(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new", 0)
    changing = state(1)
    checkpoints.update(changing)
    changing["weights"].zero_()
    checkpoints.close()
    loaded = load_sealed(checkpoints.last)
    assert torch.equal(loaded["weights"], torch.ones(3))


def test_two_writes_are_the_interval_apart_and_the_end_misses_nothing(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path, 60)
    written = []
    for epoch in range(1, 14):  # an epoch lasts 10 s
        checkpoints.update(state(epoch))
        settle(checkpoints)
        written.append(number(checkpoints.last))
        clock.now += 10
    assert written == [1, 1, 1, 1, 1, 1, 7, 7, 7, 7, 7, 7, 13]
    checkpoints.update(state(14))
    assert number(checkpoints.last) == 13
    checkpoints.close()
    assert number(checkpoints.last) == 14


def test_without_an_interval_writing_takes_a_hundredth_of_the_time(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_writes(monkeypatch, clock, 0.5)
    checkpoints = Checkpoints(tmp_path)
    writes, start = [], clock.now
    for _ in range(2000):
        before = checkpoints._last_write
        checkpoints.update(state(0))
        settle(checkpoints)
        if checkpoints._last_write != before:
            writes.append(clock.now)
        clock.now += 0.3
    assert len(writes) > 5
    assert 0.5 * len(writes) <= 0.01 * (clock.now - start) + 0.5


def test_the_best_state_is_written_though_its_own_turn_was_passed_over(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path, 60)
    for epoch, best in ((1, True), (2, True), (3, True), (4, False)):
        checkpoints.update(state(epoch), best=best)
        settle(checkpoints)
    assert (number(checkpoints.last), number(checkpoints.best)) == (1, 1)
    checkpoints.close()
    assert (number(checkpoints.last), number(checkpoints.best)) == (4, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "previous.pt"]
    assert number(checkpoints.previous) == 1


def test_training_does_not_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, written = threading.Event(), checkpoint._written

    def stuck(*arguments: Any) -> Path:
        assert disk.wait(30)
        return written(*arguments)

    monkeypatch.setattr(checkpoint, "_written", stuck)
    checkpoints = Checkpoints(tmp_path, 0)
    for epoch in range(1, 6):
        checkpoints.update(state(epoch))
    assert not checkpoints.last.exists()
    disk.set()
    checkpoints.close()
    assert number(checkpoints.last) == 5


@pytest.mark.parametrize("ends", ["update", "close"])
def test_a_write_that_fails_ends_the_run_and_harms_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    checkpoints.update(state(1))
    checkpoints.close()

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    checkpoints.update(state(2))
    settle(checkpoints)
    with pytest.raises(TrainingError, match=r"last\.pt cannot be written .*No space left.*run the same command again"):
        checkpoints.close() if ends == "close" else checkpoints.update(state(3))
    assert number(checkpoints.last) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_a_named_pipe_in_the_place_of_an_unfinished_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "last.writing")
    checkpoints = Checkpoints(tmp_path, 0)
    checkpoints.update(state(1))
    checkpoints.close()
    assert number(checkpoints.last) == 1


def test_a_best_state_whose_write_failed_is_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", lambda *arguments: torch.load(tmp_path / "nowhere"))
        checkpoints.update(state(1), best=True)
        settle(checkpoints)
    with pytest.raises(TrainingError):
        checkpoints.update(state(2))
    checkpoints.close()
    assert (number(checkpoints.last), number(checkpoints.best)) == (2, 1)


def test_within_an_epoch_it_is_due_once_a_minute_at_most(tmp_path: Path, clock: Clock) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    clock.now += checkpoint.WITHIN_EPOCH - 1
    assert not checkpoints.due_within_epoch()
    clock.now += 1
    assert checkpoints.due_within_epoch()
    checkpoints.update(state(1))
    settle(checkpoints)
    assert not checkpoints.due_within_epoch()
    clock.now += checkpoint.WITHIN_EPOCH
    assert checkpoints.due_within_epoch()
    checkpoints.close()
    assert not Checkpoints(tmp_path, 1000).due_within_epoch()


def test_a_long_epoch_has_checkpoints_of_its_own(
    trainer: Make, watcher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C, which does not wait for the step: what is left is the last checkpoint within the epoch."""
    monkeypatch.setattr(checkpoint, "WITHIN_EPOCH", 0.0)
    whole = trainer(dropout=0.3, ema=0.9, folder=tmp_path / "whole")
    expected = whole.fit()

    class Interrupting(watcher):  # type: ignore[misc]
        def on_step(self, epoch: int, step: int) -> None:
            settle(stopped.checkpoints)  # none is due while the one before is being written
            if (epoch, step) == (1, 3):
                raise KeyboardInterrupt

    stopped = trainer(dropout=0.3, ema=0.9, watcher=Interrupting(), checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    resumed = trainer(dropout=0.3, ema=0.9)
    outcome = resumed.fit()
    assert resumed.watcher.steps[0] == (1, 3)  # after the two that were saved
    for name, value in whole.step.model.state_dict().items():
        assert torch.equal(value, resumed.step.model.state_dict()[name]), name
    assert torch.equal(expected.test.logits, outcome.test.logits)
    assert [row["train_loss"] for row in outcome.rows] == [row["train_loss"] for row in expected.rows]
    assert all(row["seconds"] > 0 for row in outcome.rows)


WRITER = """
import sys, torch
from pathlib import Path
from wrnexp.engine.checkpoint import Checkpoints
checkpoints, weights = Checkpoints(Path(sys.argv[1]), 0), torch.zeros(2**18)
for number in range(10**9):
    weights += 1
    checkpoints.update({"number": number + 1, "weights": weights}, best=number % 3 == 0)
    if number == 0:
        checkpoints.close()
        print("ready", flush=True)
"""


def test_a_kill_in_the_middle_of_writing_leaves_whole_files(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    for index in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], env=os.environ | {"PYTHONPATH": root}, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + 0.013 * index)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for path in (tmp_path / "last.pt", tmp_path / "best.pt"):
            saved = torch.load(path, weights_only=True)
            assert torch.equal(saved["weights"], torch.full((2**18,), float(saved["number"])))


def resumable(epochs: int) -> dict[str, Any]:
    rows = [{"epoch": epoch + 1} for epoch in range(epochs)]
    return {"model": {}, "average": {}, "optimizer": {}, "test_looks": 0, "rows": rows}


def empty(path: Path) -> None:
    path.write_bytes(b"")


def another_type(path: Path) -> None:
    save_sealed(resumable(1) | {"rows": None}, path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [empty, another_type, folder, Path.unlink], ids=lambda damage: damage.__name__)
def test_the_previous_checkpoint_stands_in_for_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    for epochs in (1, 2, 3):
        checkpoints.update(resumable(epochs))
        settle(checkpoints)
    checkpoints.close()
    damage(checkpoints.last)
    again = Checkpoints(tmp_path)
    assert again.open() == {}
    assert again.epochs == 2
    state = again.take()
    assert state is not None
    assert len(state["rows"]) == 2
    assert again.take() is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("training resumes from previous.pt, epoch 2")
    assert checkpoints.last.with_name("last.pt.damaged").exists() == (damage is not Path.unlink)


PROGRAM: dict[str, Any] = {"epochs": [1, 2], "threads": 1}
ABOUT: dict[str, Any] = {
    "schema_version": 1, "run_id": "a", "config": {}, "data": {}, "classes": [], "programs": [PROGRAM],
}  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        {"rows": [*resumable(2)["rows"], {"epoch": 2}]},
        {"rows": [{}, {"epoch": 2}]},
        {"test_looks": "3"},
        *({"run": value} for value in (None, [ABOUT], {"schema_version": "1"}, ABOUT | {"run_id": None})),
        *(
            {"run": {key: ABOUT[key] for key in ABOUT if key != absent}}
            for absent in ABOUT
            if absent != "schema_version"
        ),
        *({"run": ABOUT | {"programs": value}} for value in ({"a": 1}, ["x"], [{"threads": 1}])),
        *({"run": ABOUT | {"programs": [PROGRAM | {"threads": count}]}} for count in (0, -3, "x", None)),
    ],
    ids=str,
)
def test_a_checkpoint_whose_parts_are_not_those_of_training_is_damaged(tmp_path: Path, parts: dict[str, Any]) -> None:
    save_sealed(resumable(2) | {"run": ABOUT}, tmp_path / "previous.pt")
    save_sealed(resumable(2) | {"run": ABOUT} | parts, tmp_path / "last.pt")
    assert Checkpoints(tmp_path).open() == ABOUT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt.damaged", "previous.pt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_checkpoint_that_may_not_be_read_is_not_damaged(tmp_path: Path) -> None:
    save_sealed(resumable(1), tmp_path / "last.pt")
    (tmp_path / "last.pt").chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        Checkpoints(tmp_path).open()
    assert (tmp_path / "last.pt").exists()
