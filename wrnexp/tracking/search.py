"""The channel from a run to the search that started it: tells the study of every epoch, and ends a hopeless run."""

from pathlib import Path

from wrnexp.errors import Pruned
from wrnexp.records import Record
from wrnexp.study import followed, open_study, step_of
from wrnexp.tracking.journal import Plan, Row


class Search:
    """A trial's line to its study, a sink.

    Args:
        study: the path of the study.
        trial: the number of this run's trial.
        startup_trials: complete ones, before which none is pruned.
        warmup_epochs: epochs of a run, up to which it is not pruned.
        shares: compare at equal parts of the training instead of equal epochs, see `wrnexp.study.step_of`.
        record: not used; every sink is given it.
        plan: how long the run is.
        shared: not used.
    """

    def __init__(
        self,
        *,
        study: str,
        trial: int,
        startup_trials: int,
        warmup_epochs: int,
        shares: bool,
        record: Record,
        plan: Plan,
        shared: Path,
    ) -> None:
        self._trial, self._told = followed(open_study(Path(study), startup_trials), trial)
        self._warmup_epochs, self._shares, self._epochs = warmup_epochs, shares, plan.epochs

    def step(self, epoch: int, step: int) -> None:
        """Nothing: a study is told once an epoch."""

    def log(self, record: Record, row: Row) -> None:
        """Tell the study of an epoch.

        Raises:
            Pruned: the best validation accuracy so far is below the median of the complete trials at this point.
        """
        epoch, value = row["epoch"], row["val_accuracy"]
        step = step_of(epoch, self._epochs, self._shares)
        if value is None or step in self._told or epoch == self._epochs:
            return
        self._trial.report(value, step)
        self._told.add(step)
        if epoch > self._warmup_epochs and self._trial.should_prune():
            raise Pruned(
                f"after epoch {epoch} of {self._epochs}: the best validation accuracy so far is below the median of the "
                f"search's complete trials at this point; it was {value:.2%} in this epoch"
            )

    def finish(self, record: Record) -> None:
        """Nothing: what came of the run is read from its record."""
