"""The sink of a trial: reports each epoch to the search that started the run, and prunes unpromising runs."""

from collections.abc import Sequence
from pathlib import Path

from optuna.pruners import MedianPruner

from wrnexp.errors import Pruned
from wrnexp.runs.journal import Row, Sink, TrainingPlan
from wrnexp.runs.record import Record
from wrnexp.sweeps.search.study import followed, open_study


class Search(Sink):
    """Sink that reports validation accuracy to an Optuna study; prunes by the median of the complete trials.

    Args:
        study: path of the study.
        trial: number of this run's trial.
        startup_trials: complete trials before the first run can be pruned.
        warmup_epochs: epochs of each run before it can be pruned.
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
        self._trial, self._reported_epochs = followed(open_study(Path(study), pruner), trial)
        self._epochs = plan.epochs

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Report the epoch to the study, unless an earlier process of the run has.

        Raises:
            Pruned: the best validation accuracy so far is below the median of the complete trials at this epoch.
        """
        epoch, value = rows[-1]["epoch"], rows[-1]["val_accuracy"]
        if value is None or epoch in self._reported_epochs:
            return
        self._trial.report(value, epoch)
        self._reported_epochs.add(epoch)
        if epoch < self._epochs and self._trial.should_prune():
            raise Pruned(
                f"after epoch {epoch} of {self._epochs}: val {value:.2%}, best so far below the search's median"
            )
