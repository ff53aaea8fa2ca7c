"""`wrnexp plan`: seeds, runs and hours of a sweep, and whether it can answer its question."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as distributions

from wrnexp.cli.plan import ROOT, add_parser
from wrnexp.cli.plan.sources import Planned, PlannedRun, from_file, from_folder
from wrnexp.cli.plan.statistics import Aim, deviation, needs
from wrnexp.config import identity
from wrnexp.errors import UserError
from wrnexp.runs.record import DataInfo, Record, write_metrics, write_record

DATA = DataInfo(name="cifar100", digest={"test": "d3cd5d87"}, train=5000, val=1000, test=2000)
HERE = {"device": "AMD EPYC, 2 threads", "device_type": "cpu"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "here")
    monkeypatch.setenv("COLUMNS", "160")


def _call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["plan", *arguments])
    return int(args.run(args))


def _shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _call(*arguments) == 0
    return re.sub(r"[ \n]+", " ", capsys.readouterr().out)


def _write(
    run: PlannedRun, seconds: list[float], accuracy: float = 0.7, status: Any = "completed", **where: str
) -> None:
    """Write a run's record and epochs into its folder."""
    assert run.config is not None
    record = Record(
        status=status,
        run_id=identity.run_id(run.config),
        arm_id=run.arm_id,
        label=run.label,
        seed=run.seed,
        config=dict(run.config),
        metrics={"test_accuracy": accuracy},
        data=DATA,
        provenance={"hostname": "here"} | HERE | where,
    )
    write_record(run.folder, record)
    write_metrics(run.folder, [{"epoch": epoch, "seconds": value} for epoch, value in enumerate(seconds, 1)])


def _planned(accuracies: Sequence[Mapping[int, float]], seeds: int = 3) -> Planned:
    """Return a sweep with an arm for each mapping from seed to accuracy; other seeds are still to come."""
    runs = [
        PlannedRun(f"arm {number}", str(number), seed, Path(), seed in known, None, known.get(seed))
        for number, known in enumerate(accuracies)
        for seed in range(seeds)
    ]
    return Planned("sweep", None, tuple(runs))


def test_a_kept_sweep_has_its_runs_and_its_question() -> None:
    planned = from_file("dropout", [], ROOT)
    assert planned.question is not None
    assert planned.question.startswith("How much dropout")
    assert planned.question.endswith("?")
    assert (planned.name, len(planned.arms), planned.seeds, len(planned.runs)) == ("dropout", 5, 16, 80)
    assert len({run.folder for run in planned.runs}) == 80
    rates = [runs[0].config["model"]["dropout"] for runs in planned.arms.values() if runs[0].config]
    assert rates == [0, 0.1, 0.2, 0.25, 0.3]


def test_overrides_after_the_name_hold() -> None:
    planned = from_file("dropout", ["+scale=small", "seed=4,5", "data=shapes", "model.dropout=0,0.3"], ROOT)
    assert planned.name == "dropout_small"
    assert sorted({run.seed for run in planned.runs}) == [4, 5]
    assert len(planned.runs) == 4
    for run in planned.runs:
        assert run.config is not None
        assert run.config["data"]["name"] == "shapes"
        assert run.folder == Path.cwd() / "multirun" / "dropout_small" / identity.run_id(run.config)


def test_seeds_are_those_of_statsmodels(capsys: pytest.CaptureFixture[str]) -> None:
    # statsmodels 0.15.0, TTestPower, at an effect of 0.4 / (sqrt(2) * 0.3): 11 pairs at 0.05, 16 at 0.05 / 4. The
    # smallest effect of 16 pairs is 0.9337 deviations at 0.05 / 4: 0.396 points.
    text = _shown(capsys, "dropout", "--effect", "0.4", "--sd", "0.3", "--power", "0.8")
    assert "1, uncorrected 11 55 ? ? 0.32 points" in text
    assert "4, Holm 16 80 ? ? 0.40 points" in text
    assert "not measured yet" in text
    assert "with 16 seeds an arm, this sweep can answer its question" in text


def test_a_sweep_of_few_seeds_says_that_it_cannot_answer(capsys: pytest.CaptureFixture[str]) -> None:
    text = _shown(capsys, "base_vs_light", "seed=0,1,2")
    assert "this sweep cannot answer its question: its 3 seeds an arm find differences of 1.38 points or more" in text
    assert "seed=range(11) can" in text
    assert "assumed, for nothing is measured" in text
    assert "1 seed an arm has no interval" in _shown(capsys, "base_vs_light", "seed=0")
    assert "it has one arm" in _shown(capsys, "base_vs_light", "experiment=light")


def test_hours_are_those_of_the_runs_on_record(capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["+scale=small", "data=shapes"]
    planned = from_file("dropout", overrides, ROOT)
    first, second = planned.runs[:2]
    _write(first, [600.0] * 7)
    _write(second, [600.0] * 2, status="interrupted")
    text = _shown(capsys, "dropout", *overrides)
    # 7 epochs of 10 minutes; of the 14 runs that are left, one needs 5 epochs only.
    assert re.search(r"light model.dropout=0 3 1 70 min 2\.0 h none", text)
    assert "5 arms, 15 runs 1 16.0 h none" in text
    assert "4, Holm 16 80 93.3 h none" in text
    assert "Times are the median of 2 runs of the same arm on AMD EPYC, 2 threads" in text


def test_gpu_hours_are_counted_where_a_gpu_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    planned = from_file("base_vs_light", ["seed=0,1"], ROOT)
    base, light = (runs[0] for runs in planned.arms.values())
    _write(base, [36.0] * 100, device="NVIDIA H200", device_type="cuda")
    text = _shown(capsys, "base_vs_light", "seed=0,1")
    assert "base 2 1 60 min 60 min 1.00" in text
    assert "Hours and GPU-hours are not measured yet (light)" in text
    assert "2 arms, 4 runs 1 ? ?" in text
    _write(light, [18.0] * 85, device="NVIDIA H200", device_type="cuda")
    assert "2 arms, 4 runs 2 86 min 1.43" in _shown(capsys, "base_vs_light", "seed=0,1")


def test_a_sweep_that_has_begun_tells_its_own_spread(capsys: pytest.CaptureFixture[str]) -> None:
    planned = from_file("base_vs_light", ["seed=0,1,2"], ROOT)
    values = {"base": [0.701, 0.704, 0.702], "light": [0.712, 0.709, 0.714]}
    for run in planned.runs:
        _write(run, [1.0] * 3, accuracy=values[run.label][run.seed])
    folder = planned.runs[0].folder.parent
    found = deviation(from_folder(folder), None)
    differences = np.subtract(values["light"], values["base"])
    assert found.differences == pytest.approx(differences.std(ddof=1))
    # The interval of a variance: (n - 1) s^2 / chi^2.
    bounds = [found.differences * (2 / distributions.chi2.ppf(share, 2)) ** 0.5 for share in (0.975, 0.025)]
    assert found.ci95 == pytest.approx(bounds)
    by_name = from_file("base_vs_light", ["seed=0,1,2,3"], ROOT)
    assert deviation(by_name, None) == found
    assert sum(run.done for run in by_name.runs) == 6
    text = _shown(capsys, str(folder))
    assert "measured over 3 common seeds of 2 arms" in text
    assert f"its 95% interval is {100 * bounds[0]:.2f} points to {100 * bounds[1]:.2f} points" in text
    assert re.search(r"1, uncorrected \d+ \d+ to [\d,]+ ", text)
    assert "as given" in _shown(capsys, str(folder), "--sd", "0.3")


def test_the_records_of_one_arm_tell_the_spread_too(capsys: pytest.CaptureFixture[str]) -> None:
    text = _shown(capsys, str(ROOT / "results" / "cpu" / "wrn_10_1"))
    assert "between the seeds of one arm 0.18 points, measured over 3 seeds" in text
    assert "it has one arm" in text


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ([{}, {}], "0.30 points, assumed"),
        ([{0: 0.7}, {0: 0.71}], "0.30 points, assumed"),
        ([{0: 0.70, 1: 0.71}, {2: 0.7}], "measured over 2 seeds"),
        ([{0: 0.70, 1: 0.71}, {0: 0.70, 1: 0.73}, {2: 0.7}], "measured over 2 common seeds of 2 arms"),
        ([{0: 0.70, 1: 0.71}, {0: 0.70, 1: 0.73}], "measured over 2 common seeds of 2 arms"),
    ],
)
def test_the_deviation_says_where_it_comes_from(accuracies: list[dict[int, float]], words: str) -> None:
    assert words in deviation(_planned(accuracies), None).words


def test_comparisons_are_corrected_for_their_number() -> None:
    spread = deviation(_planned([{}, {}]), 0.003)
    one, four = needs(_planned([{}] * 5), Aim(0.004, 0.8), spread)
    assert (one.comparisons, one.seeds, four.comparisons, four.seeds) == (1, 11, 4, 16)
    assert one.at_bounds is None
    (only,) = needs(_planned([{}] * 2), Aim(0.004, 0.8), spread)
    assert only.comparisons == 1
    (far,) = needs(_planned([{}] * 2), Aim(1e-6, 0.8), spread)
    assert far.seeds is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dropuot"], ["dropuot", "Did you mean dropout?", "label_smoothing"]),
        (["dropout", "model.droput=0"], ["model.droput=0", "did you mean model.dropout?"]),
        (["dropout", "model.depth=17"], ["model.depth=17", "10, 16, 22"]),
        (["dropout", "model=ligth"], ["does not compose", "ligth"]),
        (["dropout", "seed=x,y"], ["seed=x"]),
        (["dropout", "--effect", "0"], ["--effect 0", "percentage points"]),
        (["dropout", "--sd", "-1", "--power", "1"], ["--sd -1", "--power 1"]),
        (["."], ["no record.json"]),
    ],
)
def test_what_cannot_be_planned_is_a_mistake(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        _call(*arguments)
    for word in words:
        assert word in str(error.value)


def test_a_folder_takes_no_overrides(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        _call("here", "seed=0")
