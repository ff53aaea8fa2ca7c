"""The console: the composed config as a tree, one line per epoch, and a closing summary.

On a terminal two progress bars show epoch and step, with images/s and the remaining time.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from wrnexp.process.terminal import Terminal, safe_text
from wrnexp.runs.journal import Row, Sink, TrainingPlan
from wrnexp.runs.record import TIME_TO, Record

SUMMARY = (  # row title, part of the record, key in that part, format
    ("test accuracy", "metrics", "test_accuracy", "{:.2%}"),
    ("test top-5", "metrics", "test_top5_accuracy", "{:.2%}"),
    ("validation accuracy", "metrics", "val_accuracy", "{:.2%}"),
    ("test NLL", "metrics", "test_nll", "{:.4f} nats"),
    ("test ECE", "metrics", "test_ece", "{:.4f}"),
    ("start", "cost", "start_seconds", "{:,.1f} s"),
    ("compilation", "cost", "compile_seconds", "{:,.1f} s"),
    ("training time", "cost", "train_seconds", "{:,.1f} s"),
    ("speed", "cost", "images_per_second", "{:,.0f} images/s"),
    ("of the matrix peak", "cost", "flops_utilization", "{:.1%}"),
    ("waiting for data", "cost", "data_wait", "{:.1%} of the training time"),
    ("parameters", "cost", "parameters", "{:,}"),
    ("multiply-adds", "cost", "macs_per_image", "{:,} per image"),
)

RECOVERY_LINES = 5  # per run


class Console(Sink):
    """Sink that prints one run.

    Args:
        progress: `auto` (bars on a terminal, lines elsewhere), `bars`, `lines` or `off`.
        terminal: where to print; None is the standard output.
    """

    def __init__(
        self,
        *,
        progress: str,
        record: Record,
        plan: TrainingPlan,
        shared: Path,
        folder: Path,
        terminal: RichConsole | None = None,
    ) -> None:
        self._plan = plan
        self._terminal = terminal or Terminal(quiet=progress == "off")
        self._terminal.print(config_tree(record))
        self._bars = _bars(self._terminal, progress == "bars" or (progress == "auto" and self._terminal.is_terminal))
        self._epochs = self._bars.add_task("epoch", total=plan.epochs, note="")
        self._steps = self._bars.add_task("step", total=plan.steps, note="")
        self._started: tuple[int, float] | None = None
        self._bars.start()

    def on_step_end(self, epoch: int, step: int) -> None:
        """Advance the bars; the speed is averaged over the epoch so far."""
        now = time.perf_counter()
        if self._started is None or self._started[0] != epoch:
            self._started = (epoch, now)
            self._bars.reset(self._steps)
        elapsed = now - self._started[1]
        speed = f"{(step - 1) * self._plan.images / self._plan.steps / elapsed:,.0f} images/s" if elapsed else ""
        self._bars.update(self._steps, completed=step, note=speed)
        self._bars.update(self._epochs, completed=epoch + step / self._plan.steps)

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Print the line of the latest epoch."""
        row = rows[-1]
        self._bars.update(self._epochs, completed=row["epoch"], note=f"test {_percent(row['test_accuracy'])}")
        self._terminal.print(epoch_line(row, self._plan.epochs))

    def on_recovery(self, record: Record) -> None:
        """Print one line for each of the first `RECOVERY_LINES` recoveries."""
        if len(record.recoveries) <= RECOVERY_LINES:
            self._terminal.print(recovery_line(record), soft_wrap=True)

    def on_run_end(self, record: Record) -> None:
        """Remove the bars and print the summary of a completed run."""
        self._bars.stop()
        if record.status == "completed":
            print_summary(self._terminal, record)


def config_tree(record: Record) -> Tree:
    """Return the composed config as a tree."""
    label = safe_text(record.label, "bold")
    tree = Tree(Text.assemble(label, safe_text(f"  run {record.run_id}  seed {record.seed}")), guide_style="dim")
    _add_settings(tree, record.config)
    return tree


def epoch_line(row: Row, epochs: int) -> str:
    """Return the losses, accuracies and speed of an epoch as one line."""
    parts = [
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}",
        f"loss {row['train_loss']:.3f}",
        *([f"val {_percent(row['val_accuracy'])}"] if row["val_accuracy"] is not None else []),
        *([f"test {_percent(row['test_accuracy'])}"] if row["test_accuracy"] is not None else []),
        f"lr {row['lr']:.3g}",
        f"{row['images_per_second']:,.0f} images/s",
        f"{row['seconds']:.1f} s",
    ]
    return "  ".join(parts)


def recovery_line(record: Record) -> str:
    """Return the latest recovery from a diverged step as one line."""
    latest = record.recoveries[-1]
    actions = {"skip": "skipped", "rollback": "diverged; training restarts from the start of the epoch without it"}
    loss, norm = (f"{value:.4g}" if value is not None else "not finite" for value in (latest.loss, latest.grad_norm))
    more = "; later ones are listed in record.json only" if len(record.recoveries) == RECOVERY_LINES else ""
    action = actions.get(latest.action, latest.action)
    return f"step {latest.step} {action} (loss {loss}, gradient norm {norm}, lr {latest.lr:.3g}){more}"


def print_summary(terminal: RichConsole, record: Record) -> None:
    """Print the closing table and, below it, the diagnosis of the training speed."""
    terminal.print(summary(record))
    if record.cost.verdict:
        terminal.print(safe_text(record.cost.verdict), soft_wrap=True)


def summary(record: Record) -> Table:
    """Return the closing table: final metrics and costs."""
    title = safe_text(f"{record.label}, seed {record.seed}")
    table = Table(title=title, show_header=False, title_justify="left")
    values: Mapping[str, Any] = record.model_dump()
    for name, part, key, form in SUMMARY:
        if (value := values[part].get(key)) is not None:
            table.add_row(name, form.format(value))
    if evaluation := record.cost.evaluation_seconds:
        share = evaluation / (evaluation + record.cost.train_seconds)
        table.add_row("evaluation", f"{evaluation:,.1f} s ({share:.1%} of an epoch)")
    if memory := record.cost.peak_memory_bytes:
        table.add_row("peak memory", f"{memory / 2**20:,.0f} MiB")
    for level in TIME_TO:
        if (seconds := record.time_to.get(level)) is not None:
            table.add_row(f"time to {float(level):.0%} test", f"{seconds:,.1f} s")
    return table


def _bars(terminal: RichConsole, enabled: bool) -> Progress:
    return Progress(
        TextColumn("{task.description:>5}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=terminal,
        disable=not enabled,
        transient=True,
    )


def _add_settings(tree: Tree, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            _add_settings(tree.add(safe_text(str(key), "cyan")), value)
        else:
            text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            tree.add(Text.assemble(safe_text(f"{key}: "), safe_text(text, "bold")))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
