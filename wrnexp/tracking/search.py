"""The channel from a run to the search that started it: tells the study of every epoch, and ends a hopeless run."""

from collections.abc import Sequence
from pathlib import Path

from optuna.pruners import MedianPruner

from wrnexp.errors import Pruned
from wrnexp.runs.journal import Row, Sink, TrainingPlan
from wrnexp.runs.record import Record
from wrnexp.sweeps.search.study import followed, open_study


class Search(Sink):
    """A trial's line to its study, a sink.

    Args:
        study: the path of the study.
        trial: the number of this run's trial.
        startup_trials: complete ones, before which no run is stopped.
        warmup_epochs: epochs of a run after which it is not stopped yet.
        record: not used; every sink is given it.
        plan: how long the run is.
        shared: not used.
        folder: not used.
    """

    def __init__(
        self,
        *,
        study: str,
        trial: int,
        startup_trials: int,
        warmup_epochs: int,
        record: Record,
        plan: TrainingPlan,
        shared: Path,
        folder: Path,
    ) -> None:
        pruner = MedianPruner(n_startup_trials=startup_trials, n_warmup_steps=warmup_epochs + 1)
        self._trial, self._told = followed(open_study(Path(study), pruner), trial)
        self._epochs = plan.epochs

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Tell the study of an epoch.

        Raises:
            Pruned: the best validation accuracy so far is below the median of the complete trials at this epoch.
        """
        epoch, value = rows[-1]["epoch"], rows[-1]["val_accuracy"]
        if value is None or epoch in self._told:
            return
        self._trial.report(value, epoch)
        self._told.add(epoch)
        if epoch < self._epochs and self._trial.should_prune():
            raise Pruned(
                f"after epoch {epoch} of {self._epochs}: val {value:.2%}, best so far below the search's median"
            )
