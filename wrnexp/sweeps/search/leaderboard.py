"""How a search stands: its trials as a table, the best first, and what they say."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState
from rich.table import Table
from rich.text import Text

from wrnexp.errors import diverged_briefly, is_diverged, is_out_of_time
from wrnexp.process.terminal import Terminal, printable, safe_text
from wrnexp.sweeps.search.space import Space
from wrnexp.sweeps.search.study import Study
from wrnexp.sweeps.sweep_json import JobEntry

STYLES = {
    "completed": "green",
    "stopped": "dim",
    "diverged": "dim",
    "failed": "red",
    "interrupted": "yellow",
    "running": "cyan",
    "pending": "dim",
}
OVER = ("completed", "stopped", "diverged")


@dataclass(frozen=True)
class Row:
    """A trial.

    Attributes:
        number: of the trial.
        overrides: the value of each searched key, as on a command line.
        epochs: that its first run has told of.
        accuracy: in 0..1; the objective where it is completed, else the last epoch's validation accuracy.
        state: one of `STYLES`.
        error: of a run of it that failed.
        note: what a time limit had to do with a run of it that is open.
        folder: of its first run, seen from the sweep's.
    """

    number: int
    overrides: tuple[str, ...]
    epochs: int
    accuracy: float | None
    state: str
    error: str | None
    note: str | None
    folder: str

    @classmethod
    def of(cls, trial: FrozenTrial, runs: Sequence[JobEntry], space: Space, notes: Mapping[str, str]) -> "Row":
        """Put together what the study and the runs' entries say of a trial."""
        failed = [run for run in runs if run.state == "failed"]
        late = [notes.get(run.folder) or run.error for run in runs if run.folder in notes or is_out_of_time(run.error)]
        told = trial.intermediate_values
        return cls(
            number=trial.number,
            overrides=tuple(space.chosen(trial.params)),
            epochs=max(told, default=0),
            accuracy=told[max(told)] if trial.value is None and told else trial.value,
            state=_state(trial, runs),
            error=_shortened(failed[0].error) if failed else None,
            note=late[0] if late and not trial.state.is_finished() else None,
            folder=runs[0].folder,
        )


class Standing:
    """The trials of a search.

    Attributes:
        rows: the best first, then what was stopped by how far it came, then the rest.
        values: the objective of each trial in their order; None where it has none.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        trials: Iterable[tuple[FrozenTrial, Sequence[JobEntry]]],
        notes: Mapping[str, str],
    ) -> None:
        self.study, self.space = study, space
        rows = [(one, Row.of(one, runs, space, notes)) for one, runs in trials]
        self.values = [one.value if one.state is TrialState.COMPLETE else None for one, _ in rows]
        self.rows = sorted((row for _, row in rows), key=_rank)

    @property
    def open(self) -> list[Row]:
        """The trials that are not over."""
        return [row for row in self.rows if row.state not in OVER]

    def totals(self, n_trials: int) -> str:
        """Return in words how many of the trials are in each state."""
        states = Counter(row.state for row in self.rows)
        others = [f"{states[state]} {state}" for state in STYLES if state != "completed" and states[state]]
        count = max(n_trials, len(self.rows))
        to_come = [f"{count - len(self.rows)} to come"] if count > len(self.rows) else []
        return ", ".join([f"{states['completed']} of {count} trials completed", *others, *to_come])

    def show(self, terminal: Terminal) -> None:
        """Print the table, the best trial and what matters."""
        terminal.print(self._table())
        completed = [row for row in self.rows if row.state == "completed"]
        if not completed:
            return
        best, seeds = completed[0], len(self.space.seeds)
        mean = f", the mean of {seeds} seeds" if seeds > 1 else ""
        terminal.print(f"best: trial {best.number}, validation accuracy {_percent(best.accuracy)}{mean}:")
        terminal.print(printable(f"  {shlex.join(best.overrides)}"))
        terminal.print(
            f"that figure is optimistic: the trial was chosen for it, of {len(self.rows)}; what it is worth, runs with "
            "other seeds say on the test set"
        )
        if shares := self.study.importances():
            text = ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
            terminal.print(f"importance for being among the best (PED-ANOVA, {len(completed)} trials): {text}")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        lasts = [key.rsplit(".", 1)[-1] for key in self.space.searched]  # short, so that values need not be cut
        keys = lasts if len(set(lasts)) == len(lasts) else list(self.space.searched)
        for name in ("trial", *keys, "epochs", "val accuracy"):
            table.add_column(name, justify="right", overflow="fold")
        table.add_column("state")
        table.add_column("run or error", overflow="fold")
        for row in self.rows:
            values = [one.partition("=")[2] for one in row.overrides]
            why = safe_text(row.note, "yellow") if row.note else safe_text(row.folder)
            why = safe_text(row.error.splitlines()[0], "red") if row.error else why
            state = Text(row.state, STYLES[row.state])
            table.add_row(str(row.number), *values, str(row.epochs), _percent(row.accuracy), state, why)
        return table


def _state(trial: FrozenTrial, runs: Sequence[JobEntry]) -> str:
    if trial.state is TrialState.COMPLETE:
        return "completed"
    if trial.state is TrialState.PRUNED:
        return "diverged" if any(is_diverged(run.error) for run in runs) else "stopped"
    states = {run.state for run in runs}
    return next((state for state in ("failed", "running", "interrupted") if state in states), "pending")


def _shortened(error: str | None) -> str | None:
    """Return an error as tables show it: of a run that diverged without figures and advice."""
    return diverged_briefly(error) if error is not None and is_diverged(error) else error


def _rank(row: Row) -> tuple[int, int, float, int]:
    """Return a key that sorts the best to the front."""
    group = OVER.index(row.state) if row.state in OVER else len(OVER)
    return group, 0 if group == 0 else -row.epochs, -(row.accuracy or 0.0), row.number


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{accuracy:.2%}"
