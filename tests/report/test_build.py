import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats as distributions

from wrnexp.errors import UserError
from wrnexp.report.build import build, compare

WriteRun = Callable[..., Path]

ACCURACIES = {
    "base": {0: 0.7123, 1: 0.7098, 2: 0.7151, 3: 0.7110, 4: 0.7087},
    "light": {0: 0.7031, 1: 0.7022, 2: 0.7040, 4: 0.6991, 7: 0.7100},
    "wide": {0: 0.7130, 1: 0.7085, 2: 0.7169, 3: 0.7121, 4: 0.7101},
    "single": {2: 0.7400},
    "apart": {11: 0.5, 12: 0.51},
}


@pytest.fixture
def five_arms(write_run: WriteRun, outputs: Path) -> Path:
    for label, values in ACCURACIES.items():
        for seed, accuracy in values.items():
            write_run(label, seed, accuracy)
    return outputs


def _exact(value: Any) -> Any:
    return pytest.approx(value, abs=1e-9, rel=0)


def _json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_every_arm_in_report_json_is_what_scipy_says(five_arms: Path, tmp_path: Path) -> None:
    build([five_arms], tmp_path / "report")
    arms = {arm["label"]: arm for arm in _json(tmp_path / "report")["arms"]}
    assert arms.keys() == ACCURACIES.keys()
    for label, expected in ACCURACIES.items():
        values = np.array([*expected.values()])
        arm = arms[label]
        assert arm.keys() == {"label", "arm_id", "n", "seeds", "mean", "sd", "ci95"}
        assert (arm["arm_id"], arm["n"], arm["seeds"]) == (f"arm-{label}", len(values), sorted(expected))
        assert arm["mean"] == _exact(values.mean())
        if len(values) == 1:
            assert arm["sd"] is arm["ci95"] is None
        else:
            assert arm["sd"] == _exact(values.std(ddof=1))
            interval = distributions.t.interval(0.95, len(values) - 1, values.mean(), distributions.sem(values))
            assert arm["ci95"] == _exact(interval)


def test_every_pair_in_report_json_is_what_scipy_says(five_arms: Path, tmp_path: Path) -> None:
    build([five_arms], tmp_path / "report")
    pairs = {pair["b"]: pair for pair in _json(tmp_path / "report")["pairs"]}
    p_values = {}
    for label in ("light", "wide"):
        seeds = sorted(ACCURACIES["base"].keys() & ACCURACIES[label].keys())
        a, b = (np.array([ACCURACIES[arm][seed] for seed in seeds]) for arm in ("base", label))
        test = distributions.ttest_rel(b, a)
        p_values[label] = test.pvalue
        assert pairs[label]["a"] == "base"
        assert pairs[label]["n"] == len(seeds)
        assert pairs[label]["difference"] == _exact((b - a).mean())
        assert pairs[label]["ci95"] == _exact(tuple(test.confidence_interval()))
        assert pairs[label]["p"] == _exact(test.pvalue)
        assert pairs[label]["seeds_needed"] == _needed((b - a).mean() / (b - a).std(ddof=1))
    first, second = sorted(p_values, key=lambda label: p_values[label])
    assert pairs[first]["p_holm"] == _exact(2 * p_values[first])
    assert pairs[second]["p_holm"] == _exact(max(2 * p_values[first], p_values[second]))
    assert pairs["light"]["verdict"] == "worse"
    assert pairs["wide"]["verdict"] == "unresolved"


def _needed(effect: float) -> int:
    """Count up to the first number of seeds with 80% power."""
    for n in range(2, 10_000):
        critical = distributions.t.ppf(0.975, n - 1)
        if distributions.nct.sf(critical, n - 1, abs(effect) * math.sqrt(n)) >= 0.8:
            return n
    raise AssertionError("not found")


def test_one_seed_and_no_common_seed_are_unresolved(five_arms: Path, tmp_path: Path) -> None:
    build([five_arms], tmp_path / "report")
    pairs = {pair["b"]: pair for pair in _json(tmp_path / "report")["pairs"]}
    alike = {"ci90": None, "equivalent": False, "margin": 0.01, "p": None}
    rest = {
        "equivalence": alike,
        "ci95": None,
        "p": None,
        "p_holm": None,
        "verdict": "unresolved",
        "seeds_needed": None,
    }
    assert pairs["apart"] == {"a": "base", "b": "apart", "n": 0, "difference": None} | rest
    single = {"a": "base", "b": "single", "n": 1, "difference": pytest.approx(0.0249, abs=1e-9)}
    assert pairs["single"] == single | rest


def test_an_arm_against_itself_is_unresolved(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for seed in range(4):
        for label in ("base", "copy"):
            write_run(label, seed, 0.7 + seed / 100)
    build([outputs], tmp_path / "report")
    (pair,) = _json(tmp_path / "report")["pairs"]
    assert (pair["difference"], pair["p"], pair["verdict"]) == (0.0, None, "unresolved")
    assert "check that the seeds change the training" in (tmp_path / "report" / "report.md").read_text()


def test_report_json_has_the_keys_of_the_interface_and_no_other(five_arms: Path, tmp_path: Path) -> None:
    build([five_arms], tmp_path / "report")
    found = _json(tmp_path / "report")
    assert [*found] == [
        "arms",
        "pairs",
        "claims",
        "excluded",
        "diverged",
        "ablation",
        "literature",
        "factorial",
        "per_image",
        "calibration",
    ]
    keys = {"a", "b", "n", "difference", "ci95", "p", "p_holm", "verdict", "seeds_needed", "equivalence"}
    assert all(pair.keys() == keys for pair in found["pairs"])
    assert {"claim", "measured", "threshold", "verdict"} < found["claims"][0].keys()


def test_what_was_left_out_is_in_report_json(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("base", 0, 0.7)
    write_run("base", 1, 0.7, status="interrupted")
    build([outputs], tmp_path / "report")
    expected = {"run_id": "run-base-1", "reason": "outputs/base/arm-base-1: status is interrupted"}
    assert _json(tmp_path / "report")["excluded"] == [expected]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_folder_whose_name_is_not_utf8_is_named_with_an_escape(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    write_run("base", 0, 0.7)
    write_run("base", 1, 0.7, status="failed", folder=os.fsdecode(b"caf\xe9"))
    build([outputs], tmp_path / "report")
    assert r"udce9: status is failed" in (tmp_path / "report" / "report.md").read_text()
    assert "status is failed" in (tmp_path / "report" / "index.html").read_text()


def test_the_same_records_give_the_same_report(five_arms: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        build([five_arms], tmp_path / name)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second
    assert str(tmp_path) not in first["report.md"].decode() + first["report.json"].decode()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["light", "demo_base", "base"], "base"), (["light", "demo_base", "a"], "demo_base"), (["light", "best"], "best")],
)
def test_the_usual_baseline(
    write_run: WriteRun, outputs: Path, tmp_path: Path, labels: list[str], expected: str
) -> None:
    for label in labels:
        write_run(label, 0, 0.7)
    report = build([outputs], tmp_path / "report")
    assert {pair.a for pair in report.pairs} == {expected}
    assert {pair.b for pair in report.pairs} == set(labels) - {expected}


def test_a_baseline_of_ones_own(five_arms: Path, tmp_path: Path) -> None:
    report = build([five_arms], tmp_path / "report", baseline="wide")
    assert {pair.a for pair in report.pairs} == {"wide"}


def test_an_unknown_baseline_writes_nothing(five_arms: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'wide'"):
        build([five_arms], tmp_path / "report", baseline="wyde")
    assert not (tmp_path / "report").exists()


def test_a_place_that_cannot_be_written_is_the_users_mistake(five_arms: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the report"):
        build([five_arms], tmp_path / "file")


def test_compare_takes_two_arms_with_claims(five_arms: Path, tmp_path: Path) -> None:
    report = compare("wide", "single", [five_arms], tmp_path / "report")
    assert [row.label for row in report.rows] == ["single", "wide"]
    assert [(pair.a, pair.b) for pair in report.pairs] == [("wide", "single")]
    assert all("single" in claim.claim and "wide" in claim.claim for claim in report.claims)


def test_compare_takes_folders_of_runs(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    first, second = (write_run("base", 0, 0.7, arm_id=str(lr), config={"lr": lr}) for lr in (1, 2))
    for seed in (1, 2):
        write_run("base", seed, 0.7 + seed / 50, arm_id="2", config={"lr": 2})
    report = compare(str(first), str(second), [outputs], tmp_path / "report")
    assert [(pair.a, pair.b) for pair in report.pairs] == [("base (lr=1)", "base (lr=2)")]
    assert [row.seeds for row in report.rows] == [[0], [0, 1, 2]]
    assert compare(str(first), str(second), [], tmp_path / "report").rows[1].seeds == [0]


def test_compare_judges_data_among_the_two_arms_only(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for seed in range(5):
        write_run("demo", seed, 0.9, data={"name": "shapes"})
    write_run("base", 0, 0.7)
    write_run("light", 0, 0.7)
    write_run("light", 1, 0.7, status="failed")
    write_run("demo", 9, 0.7, status="failed")
    report = compare("base", "light", [outputs], tmp_path / "report")
    assert [row.label for row in report.rows] == ["base", "light"]
    assert [entry.run_id for entry in report.excluded] == ["run-light-1"]


def test_compare_says_what_became_of_an_arm(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for seed in range(2):
        write_run("base", seed, 0.7)
    shapes = write_run("demo", 0, 0.9, data={"name": "shapes"})
    failed = write_run("light", 0, 0.7, status="failed", error="ValueError: no")
    for name in ("light", str(failed)):
        with pytest.raises(UserError, match=r"has no run that compares: .*ValueError: no"):
            compare("base", name, [outputs], tmp_path / "report")
    with pytest.raises(UserError, match=r"'demo' has no run that compares: .*shapes"):
        compare("base", str(shapes), [outputs], tmp_path / "report")
    with pytest.raises(UserError, match="are the same arm"):
        compare("base", "base", [outputs], tmp_path / "report")


def test_a_broken_record_given_to_compare_is_the_users_mistake(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    write_run("base", 0, 0.7)
    broken = write_run("light", 0, 0.7)
    (broken / "record.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        compare("base", str(broken), [outputs], tmp_path / "report")


def test_means_of_costs_are_over_the_runs_that_have_them(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    sizes = [2**30, None, 3 * 2**30]
    for seed, size in enumerate(sizes):
        write_run("base", seed, 0.7, cost={"peak_memory_bytes": size})
    (row,) = build([outputs], tmp_path / "report").rows
    assert row.peak_memory_bytes == 2 * 2**30
    assert row.train_seconds == fmean([1000, 1001, 1002])
    assert row.images_per_second is None
    assert row.nll == pytest.approx(1.2)
    assert row.ece == pytest.approx(0.05)


def test_reports_need_no_torch_wandb_or_hydra() -> None:
    code = (
        "import sys, wrnexp.stats\n"
        "from wrnexp.report import build; from wrnexp.report.text import console\n"
        "from wrnexp.report.figures import curves, plots\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'wandb', 'hydra', 'omegaconf'}))\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
        "print(sorted({'jinja2', 'vl_convert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "False", "[]"]
