"""The sink that tells a study of a run's epochs and ends a hopeless run; with a real run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig, open_dict

from wrnexp import app
from wrnexp.records import Record, read_metrics, read_record

optuna = pytest.importorskip("optuna")

from optuna.distributions import FloatDistribution  # noqa: E402

from wrnexp.study import FILE, Study  # noqa: E402


def search(folder: Path, curves: list[dict[int, float]]) -> Study:
    """Return a study with complete trials of these validation accuracies, and one more that this process holds."""
    study = Study(folder, {"lr": FloatDistribution(0.1, 1.0)}, {}, startup_trials=10, seed=0)
    for curve in curves:
        (trial,) = study.claim(1, len(curves))
        study.tell(trial.number, curve[max(curve)], curve)
    study.claim(1, len(curves) + 1)
    return study


def run(cfg: DictConfig, folder: Path, trial: int, startup_trials: int = 2, warmup_epochs: int = 1) -> Record:
    with open_dict(cfg):
        cfg.tracking.search = {
            "_target_": "wrnexp.tracking.search.Search",
            "_partial_": True,
            "study": str(folder / FILE),
            "trial": trial,
            "startup_trials": startup_trials,
            "warmup_epochs": warmup_epochs,
        }
    return app.run(cfg, folder / "run")


# What no run reaches, and what every run has.
PERFECT, USELESS = (dict.fromkeys(range(1, 5), value) for value in (1.1, -0.1))


def test_a_run_below_the_median_ends_after_the_warmup_and_keeps_its_checkpoint(
    tmp_path: Path, tiny: Callable[..., DictConfig]
) -> None:
    cfg = tiny("data.val_size=48", "optim.epochs=4")
    with search(tmp_path, [PERFECT, USELESS, PERFECT]) as study:
        record = run(cfg, tmp_path, trial=3)
        assert record.status == "interrupted"
        assert record == read_record(tmp_path / "run")
        assert record.error is not None
        assert record.error.startswith("Pruned: after epoch 2 of 4: ")
        rows = read_metrics(tmp_path / "run")
        assert study.trials[3].intermediate_values == {row["epoch"]: row["val_accuracy"] for row in rows}
    assert len(rows) == 2
    assert (tmp_path / "run" / "checkpoints" / "last.pt").is_file()
    assert not (tmp_path / "run" / "predictions.npz").exists()


@pytest.mark.parametrize(
    ("curves", "startup_trials", "warmup_epochs"),
    [
        ([PERFECT, USELESS, USELESS], 2, 1),  # above the median
        ([PERFECT, PERFECT], 3, 1),  # too few complete trials
        ([PERFECT, PERFECT], 2, 4),  # warm-up to the end
        ([PERFECT, PERFECT], 2, 3),  # at its last epoch a run is done, whatever came of it
    ],
)
def test_other_runs_end_as_they_would(
    tmp_path: Path,
    tiny: Callable[..., DictConfig],
    curves: list[dict[int, float]],
    startup_trials: int,
    warmup_epochs: int,
) -> None:
    cfg = tiny("data.val_size=48", "optim.epochs=4")
    with search(tmp_path, curves) as study:
        record = run(cfg, tmp_path, len(curves), startup_trials, warmup_epochs)
        assert (record.status, record.error) == ("completed", None)
        assert list(study.trials[-1].intermediate_values) == [1, 2, 3, 4]
