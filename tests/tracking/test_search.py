"""The sink of a trial, with a real Optuna study: reports epochs and prunes."""

from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution

from wrnexp.errors import Pruned, is_pruned, one_line
from wrnexp.runs.journal import TrainingPlan
from wrnexp.runs.record import Record
from wrnexp.sweeps.search.study import FILE, Study
from wrnexp.tracking.search import Search

RECORD = Record(run_id="a", arm_id="b", label="c", seed=0)
HIGH, LOW = (dict.fromkeys(range(1, 5), value) for value in (0.9, 0.1))


def search(folder: Path, curves: list[dict[int, float]]) -> Study:
    """Return a study with complete trials of these validation accuracies, and one running trial."""
    study = Study(folder, {"lr": FloatDistribution(0.1, 1.0)}, {}, startup_trials=10, seed=0)
    for curve in curves:
        (trial,) = study.claim(1, len(curves))
        study.tell(trial.number, curve[max(curve)], curve)
    study.claim(1, len(curves) + 1)
    return study


def report_epochs(
    folder: Path,
    trial: int,
    values: list[float | None],
    startup_trials: int = 2,
    warmup_epochs: int = 0,
    first: int = 1,
) -> str | None:
    """Report the epochs of a run of four to the sink; return the error with which it prunes, if any."""
    sink = Search(
        study=str(folder / FILE),
        trial=trial,
        startup_trials=startup_trials,
        warmup_epochs=warmup_epochs,
        record=RECORD,
        plan=TrainingPlan(4, 1, 1),
        shared=folder,
        folder=folder,
    )
    for epoch, value in enumerate(values, first):
        sink.on_step_end(epoch - 1, 1)
        try:
            sink.on_epoch_end(RECORD, [{"epoch": epoch, "val_accuracy": value}])
        except Pruned as pruned:
            return one_line(pruned)
    sink.on_run_end(RECORD)
    return None


@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_a_run_below_the_median_ends_after_the_warmup(tmp_path: Path, warmup: int) -> None:
    with search(tmp_path, [HIGH, LOW, HIGH]) as study:
        error = report_epochs(tmp_path, 3, [0.5, 0.6, 0.7, 0.8], warmup_epochs=warmup)
        assert is_pruned(error)
        assert str(error).startswith(f"Pruned: after epoch {warmup + 1} of 4: ")
        assert list(study.trials[3].intermediate_values.values()) == [0.5, 0.6, 0.7, 0.8][: warmup + 1]


@pytest.mark.parametrize(
    ("curves", "values", "startup_trials", "warmup_epochs"),
    [
        ([HIGH, LOW, LOW], [0.5, 0.6, 0.7, 0.8], 2, 0),  # above the median
        ([HIGH, HIGH], [0.95, 0.2, 0.2, 0.2], 2, 0),  # its best so far is
        ([HIGH, HIGH], [0.5, 0.6, 0.7, 0.8], 3, 0),  # too few complete trials
        ([HIGH, HIGH], [0.5, 0.6, 0.7, 0.8], 2, 3),  # at its last epoch a run is done, whatever came of it
        ([HIGH, HIGH], [None, None, None, None], 2, 0),  # no finite accuracy to compare
    ],
)
def test_other_runs_are_not_pruned(
    tmp_path: Path, curves: list[dict[int, float]], values: list[float | None], startup_trials: int, warmup_epochs: int
) -> None:
    with search(tmp_path, curves) as study:
        assert report_epochs(tmp_path, len(curves), values, startup_trials, warmup_epochs) is None
        assert list(study.trials[-1].intermediate_values.values()) == [value for value in values if value is not None]


def test_a_resumed_run_reports_each_epoch_once(tmp_path: Path) -> None:
    with search(tmp_path, [LOW, LOW]) as study:
        assert report_epochs(tmp_path, 2, [0.5, 0.6]) is None
        assert report_epochs(tmp_path, 2, [0.3, 0.7, 0.8], first=2) is None
        assert study.trials[2].intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8}
