"""The console: plain lines in a pipe, bars on a terminal, a summary at the end."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Terminal

from wrnexp.runs.journal import TrainingPlan
from wrnexp.runs.record import Divergence, Record
from wrnexp.tracking import Console
from wrnexp.tracking.console import config_tree, epoch_line, summary

ROW: dict[str, Any] = {
    "epoch": 3, "step": 30, "lr": 0.05, "train_loss": 1.23456, "val_loss": None, "val_accuracy": None,
    "test_loss": 1.1, "test_accuracy": 0.7123, "seconds": 12.34, "images_per_second": 4321.0, "data_wait": 0.01,
    "grad_norm": 0.5, "clipped": 0.0, "peak_memory_bytes": 1 << 20,
}  # fmt: skip


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "run_id": "0123456789", "arm_id": "9876543210", "label": "light [x]", "seed": 4,
        "config": {"model": {"depth": 16, "ema": None, "fast": True}, "seed": 4},
    }  # fmt: skip
    return Record(**(values | changes))


def printed(thing: object) -> str:
    terminal = Terminal(file=io.StringIO(), width=100)
    terminal.print(thing)
    text: str = terminal.file.getvalue()  # type: ignore[attr-defined]
    return text


def console(progress: str, *, terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    screen = Terminal(file=file, force_terminal=terminal, width=100, highlight=False)
    made = Console(
        progress=progress,
        record=record(),
        plan=TrainingPlan(epochs=10, steps=10, images=1000),
        shared=Path(),
        folder=Path(),
        terminal=screen,
    )
    return made, file


def test_the_tree_shows_every_value_as_it_is_typed() -> None:
    text = printed(config_tree(record()))
    assert "light [x]" in text
    for words in ("depth: 16", "ema: null", "fast: true", "seed: 4"):
        assert words in text


def test_an_epoch_is_one_line() -> None:
    line = epoch_line(ROW, 10)
    assert line == "epoch  3/10  loss 1.235  test 71.23%  lr 0.05  4,321 images/s  12.3 s"
    assert "val 65.00%" in epoch_line(ROW | {"val_accuracy": 0.65}, 10)
    assert "test" not in epoch_line(ROW | {"test_accuracy": None}, 10)


@pytest.mark.parametrize("progress", ["auto", "lines"])
def test_a_pipe_gets_plain_lines(progress: str) -> None:
    made, file = console(progress, terminal=False)
    for step in range(1, 11):
        made.on_step_end(0, step)
    made.on_epoch_end(record(), [ROW])
    made.on_run_end(record(status="completed", metrics={"test_accuracy": 0.7123}))
    text = file.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "epoch  3/10" in text
    assert any("test accuracy" in line and "71.23%" in line for line in text.splitlines())


def test_the_first_recoveries_have_a_line_each() -> None:
    made, file = console("lines", terminal=False)
    run = record()
    for step in range(1, 9):
        run.recoveries.append(Divergence(step=step, lr=0.1, grad_norm=3.0, loss=None, action="skip"))
        made.on_recovery(run)
    lines = file.getvalue().splitlines()
    assert sum("skipped" in line for line in lines) == 5
    assert "step 1 skipped (loss not finite, gradient norm 3, lr 0.1)" in lines
    assert lines[-1].startswith("step 5 ")
    assert lines[-1].endswith("record.json only")
    run.recoveries[:] = [Divergence(step=7, lr=0.1, grad_norm=3.0, loss=1.5e4, action="rollback")]
    made.on_recovery(run)
    assert "step 7 diverged; training restarts from the start of the epoch without it (loss 1.5e+04" in file.getvalue()


def test_a_terminal_gets_bars_with_speed_and_time_left() -> None:
    made, file = console("auto", terminal=True)
    for step in range(1, 6):
        made.on_step_end(2, step)
    made._bars.refresh()
    made.on_epoch_end(record(), [ROW])
    made.on_run_end(record(status="interrupted"))
    text = file.getvalue()
    assert "images/s" in text
    assert "5/10" in text
    assert "\x1b" in text


def test_the_summary_ends_with_one_line_on_what_bounded_the_run() -> None:
    text = (
        "waited for data 38% of the training time: raise loader.workers (2 now, 16 cores here), or use loader=resident"
    )
    made, file = console("lines", terminal=False)
    made.on_run_end(record(status="completed", cost={"verdict": text, "data_wait": 0.38, "flops_utilization": 0.31}))
    lines = file.getvalue().splitlines()
    assert lines[-1] == text  # in one piece, though longer than the terminal is wide
    assert any("waiting for data" in line and "38.0% of the training time" in line for line in lines)
    assert any("of the matrix peak" in line and "31.0%" in line for line in lines)


def test_the_summary_leaves_out_what_was_not_measured() -> None:
    measured = record(metrics={"test_accuracy": 0.5, "val_accuracy": None}, time_to={"0.50": 12.0, "0.60": None})
    text = printed(summary(measured))
    assert "50.00%" in text
    assert "time to 50% test" in text
    assert "validation" not in text
    assert "60%" not in text
