"""The journal: what the record says at every moment, whatever happens."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wrnexp.errors import DivergedError, Pruned, Stopped, TrainingError, UserError
from wrnexp.runs.journal import Journal, Sink, finalize_record, time_to
from wrnexp.runs.record import Divergence, Record, read_metrics, read_record


def record() -> Record:
    return Record(run_id="0123456789", arm_id="9876543210", label="light", seed=0)


def row(epoch: int, test: float | None, seconds: float = 10.0) -> dict[str, Any]:
    return {
        "epoch": epoch, "step": epoch * 5, "lr": 0.1, "train_loss": 1.0, "val_loss": None, "val_accuracy": None,
        "test_loss": None, "test_accuracy": test, "seconds": seconds, "images_per_second": 100.0, "data_wait": 0.0,
        "grad_norm": 1.0, "clipped": 0.0, "peak_memory_bytes": 1 << 20,
    }  # fmt: skip


class Listener(Sink):
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.listening: list[Any] = []

    def on_step_end(self, epoch: int, step: int) -> None:
        self.listening.append((epoch, step))

    def on_epoch_end(self, record: Record, rows: Sequence[dict[str, Any]]) -> None:
        self.listening.append(rows[-1]["epoch"])

    def on_resume(self, record: Record, rows: Sequence[dict[str, Any]]) -> None:
        self.listening.append(("resumed", len(rows)))

    def on_media(self, record: Record, folder: Path) -> None:
        self.listening.append(folder)

    def on_run_end(self, record: Record) -> None:
        self.listening.append(record.status)


def test_the_record_says_running_from_its_first_byte(tmp_path: Path) -> None:
    with Journal(record(), tmp_path) as journal:
        assert read_record(tmp_path).status == "running"
        journal.on_epoch([row(1, 0.4)])
        written = read_record(tmp_path)
        assert (written.status, written.cost.steps, written.cost.images, written.cost.train_seconds) == (
            "running",
            5,
            1000,
            10.0,
        )
        assert written.metrics["test_accuracy"] == 0.4
        assert read_metrics(tmp_path) == [row(1, 0.4)]
        journal.complete({"test_accuracy": 0.4}, 123, 1)
        assert read_record(tmp_path).status == "completed"
    done = read_record(tmp_path)
    assert (done.status, done.error, done.test_looks, done.cost.peak_memory_bytes) == ("completed", None, 1, 123)
    assert done.provenance["finished"]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (RuntimeError("out of\n memory"), "failed", "RuntimeError: out of memory"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(143), "interrupted", "SystemExit: 143"),
        (Pruned("after epoch 2 of 4"), "interrupted", "Pruned: after epoch 2 of 4"),
    ],
)
def test_an_error_is_in_the_record(tmp_path: Path, error: BaseException, status: str, line: str) -> None:
    listener = Listener()
    journal = Journal(record(), tmp_path)
    journal.attach([lambda: listener])
    with pytest.raises(type(error)), journal:
        raise error
    written = read_record(tmp_path)
    assert (written.status, written.error) == (status, line)
    assert listener.listening == [status]


def test_a_run_that_ends_without_completing_has_failed(tmp_path: Path) -> None:
    with Journal(record(), tmp_path):
        pass
    assert read_record(tmp_path).status == "failed"


def test_sinks_hear_in_order(tmp_path: Path) -> None:
    listener = Listener()
    with Journal(record(), tmp_path) as journal:
        journal.attach([lambda: listener])
        journal.on_resume([row(1, None)])
        journal.on_pictures()
        journal.on_step(1, 1)
        journal.on_epoch([row(1, None), row(2, None)])
        journal.complete({}, None, 0)
    assert listener.listening == [("resumed", 1), tmp_path, (1, 1), 2, "completed"]


def test_a_sink_that_fails_is_dropped_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(Listener):
        def on_epoch_end(self, record: Record, rows: Sequence[dict[str, Any]]) -> None:
            raise OSError("no space left")

    def cannot_start() -> Listener:
        raise ConnectionError("no server")

    broken, listener = Broken(), Listener()
    with Journal(record(), tmp_path) as journal:
        journal.attach([cannot_start, lambda: broken, lambda: listener])
        journal.on_epoch([row(1, 0.4)])
        journal.on_step(1, 1)
        journal.complete({}, None, 1)
    assert read_record(tmp_path).status == "completed"
    assert listener.listening == [1, (1, 1), "completed"]
    assert broken.listening == []
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no server" in lines[0]
    assert "Broken stopped (OSError: no space left)" in lines[1]


@pytest.mark.parametrize("error", [SystemExit(1), OSError("gone"), UserError("no such project"), Pruned("late")])
def test_no_sink_takes_anything_from_a_run_that_is_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    class Broken(Listener):
        def on_media(self, record: Record, folder: Path) -> None:
            raise error

        def on_run_end(self, record: Record) -> None:
            raise error

    for pictures in (True, False):  # what fails is not told again
        folder = tmp_path / str(pictures)
        with Journal(record(), folder) as journal:
            journal.attach([Broken])
            journal.complete({"test_accuracy": 0.4}, None, 1)
            if pictures:
                journal.on_pictures()
        assert (read_record(folder).status, read_record(folder).error) == ("completed", None)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"Broken stopped ({type(error).__name__}")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped(15), ValueError("a bug")])
def test_what_ends_the_process_after_the_results_leaves_the_run_complete(tmp_path: Path, error: BaseException) -> None:
    listener = Listener()
    journal = Journal(record(), tmp_path)
    journal.attach([lambda: listener])
    journal.complete({"test_accuracy": 0.4}, None, 1)
    with pytest.raises(type(error)), journal:
        raise error
    written = read_record(tmp_path)
    assert (written.status, written.error, written.metrics["test_accuracy"]) == ("completed", None, 0.4)
    assert listener.listening == ["completed"]


def test_a_signal_while_a_sink_works_is_heard(tmp_path: Path) -> None:
    class Slow(Listener):
        def on_media(self, record: Record, folder: Path) -> None:
            raise Stopped(15)

    journal = Journal(record(), tmp_path)
    journal.attach([Slow])
    journal.complete({}, None, 1)
    with pytest.raises(Stopped), journal:
        journal.on_pictures()
    assert read_record(tmp_path).status == "completed"


def test_a_closed_stderr_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Listener):
        def on_epoch_end(self, record: Record, rows: Sequence[dict[str, Any]]) -> None:
            raise OSError("no space left")

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with Journal(record(), tmp_path) as journal:
        journal.attach([Broken])
        journal.on_epoch([row(1, 0.4)])
        journal.complete({}, None, 1)
    assert read_record(tmp_path).status == "completed"


def test_time_to_is_the_first_look_that_reached_it() -> None:
    rows = [row(1, 0.3), row(2, None), row(3, 0.65), row(4, 0.59), row(5, 0.76, seconds=5.0)]
    assert time_to(rows) == {"0.50": 30.0, "0.60": 30.0, "0.70": 45.0, "0.75": 45.0, "0.80": None}


def test_a_silent_journal_writes_and_tells_nothing(tmp_path: Path) -> None:
    listener = Listener()
    with Journal(record(), tmp_path, silent=True) as journal:
        journal.attach([lambda: listener])
        journal.on_step(0, 1)
        journal.on_epoch([row(1, 0.5)])
        journal.complete({}, None, 1)
    assert list(tmp_path.iterdir()) == []
    assert listener.listening == []
    assert journal.record.status == "completed"


def test_recoveries_and_divergence_are_in_the_record(tmp_path: Path) -> None:
    class Recovered(Listener):
        def on_recovery(self, record: Record) -> None:
            self.listening.append(record.recoveries[-1].step)

    def end() -> None:
        assert [one.step for one in read_record(tmp_path).recoveries] == [3, 9]
        raise DivergedError("the training loss is nan", step | {"step": 11, "action": "stop"})

    listener = Recovered()
    step = {"step": 3, "lr": 0.1, "grad_norm": None, "loss": 2.5, "action": "skip"}
    journal = Journal(record(), tmp_path)
    journal.attach([lambda: listener])
    journal.on_recoveries([step], resumed=True)
    with pytest.raises(DivergedError), journal:  # noqa: PT012  # all that the journal is called with
        journal.on_recoveries([step, step | {"step": 9}])
        end()
    written = read_record(tmp_path)
    assert listener.listening == [9, "failed"]
    assert (written.status, written.error) == ("failed", "DivergedError: the training loss is nan")
    assert written.divergence == Divergence(step=11, lr=0.1, grad_norm=None, loss=2.5, action="stop")
    finalize_record(DivergedError("of a process that does not know the step"), tmp_path, record())
    assert read_record(tmp_path).divergence == written.divergence


def test_a_record_is_closed_for_a_process_that_could_not(tmp_path: Path) -> None:
    journal = Journal(record(), tmp_path)
    journal.__enter__()
    journal.on_epoch([row(1, 0.5)])
    finalize_record(TrainingError("process 2 was killed"), tmp_path, record())
    found = read_record(tmp_path)
    assert (found.status, found.error) == ("failed", "TrainingError: process 2 was killed")
    assert found.cost.steps == 5  # the rest is what the process wrote
    finalize_record(KeyboardInterrupt(), tmp_path / "new", record())
    assert read_record(tmp_path / "new").status == "interrupted"


def test_closing_after_an_error_takes_nothing_from_a_completed_record(tmp_path: Path) -> None:
    with Journal(record(), tmp_path) as journal:
        journal.complete({"test_accuracy": 0.4}, 123, 1)
    written = (tmp_path / "record.json").read_bytes()
    finalize_record(TrainingError("a process ended with exit code 1"), tmp_path, record())
    assert (tmp_path / "record.json").read_bytes() == written
