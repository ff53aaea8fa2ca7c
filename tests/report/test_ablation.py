"""What each change is worth: the figures are scipy's, the words say what they can and cannot show."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats as distributions

from wrnexp.process.terminal import Terminal
from wrnexp.report import ablation_tables
from wrnexp.report.ablation import Ablation, ablations
from wrnexp.report.build import build
from wrnexp.report.collect import comparable, find_runs
from wrnexp.report.figures import ablation_plot
from wrnexp.report.text.ablation_text import findings
from wrnexp.report.text.console import print_ablation
from wrnexp.sweeps.sweep_json import JobEntry, Sweep

WriteRun = Callable[..., Path]

# Three changes from a to b: u, v, w; the ladder takes them in that order.
A: dict[str, Any] = {"model": {"depth": 28}, "optim": {"lr": 0.1, "clip": None}, "loader": {"workers": 4}}
VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "u": {"model": {"depth": 16}},
    "v": {"optim": {"lr": 0.8}},
    "w": {"optim": {"clip": 0.5}},
}
ARMS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "a": ("", [{"kind": "a"}, {"kind": "ladder", "ladder": "uvw", "step": 0, "changes": []}]),
    "b": ("uvw", [{"kind": "b"}, {"kind": "ladder", "ladder": "uvw", "step": 3, "changes": ["w"]}]),
    "a + u": (
        "u",
        [{"kind": "add-one", "change": "u"}, {"kind": "ladder", "ladder": "uvw", "step": 1, "changes": ["u"]}],
    ),
    "a + v": ("v", [{"kind": "add-one", "change": "v"}]),
    "a + w": ("w", [{"kind": "add-one", "change": "w"}]),
    "b - u": ("vw", [{"kind": "leave-one-out", "change": "u"}]),
    "b - v": ("uw", [{"kind": "leave-one-out", "change": "v"}]),
    "b - w": (
        "uv",
        [{"kind": "leave-one-out", "change": "w"}, {"kind": "ladder", "ladder": "uvw", "step": 2, "changes": ["v"]}],
    ),
}  # fmt: skip
SEEDS = range(4)
NOISE = np.random.default_rng(3).normal(0, 0.001, (len(ARMS), len(SEEDS)))
GAINS = {"u": -0.02, "v": 0.015, "w": 0.001}


def config_of(changes: str) -> dict[str, Any]:
    found = {group: dict(keys) for group, keys in A.items()}
    for change in changes:
        for group, keys in VALUES[change].items():
            found[group] |= keys
    return found


def accuracy(label: str, seed: int) -> float:
    """u loses 2 points alone and 1 among the others, v gains 1.5, w next to nothing."""
    changes = ARMS[label][0]
    together = 0.01 if {"u", "v"} <= set(changes) else 0.0
    return float(0.7 + sum(GAINS[one] for one in changes) + together + NOISE[list(ARMS).index(label), seed])


WriteStudy = Callable[..., Path]


@pytest.fixture
def write_study(write_run: WriteRun, outputs: Path) -> WriteStudy:
    """Return a function that writes the runs and the sweep.json of an ablation, and returns its folder."""

    def write(
        name: str = "ablate_a_b",
        *,
        seeds: Any = SEEDS,
        without: str = "",
        extra: Any = (),
    ) -> Path:
        jobs = []
        for label, (changes, roles) in ARMS.items():
            for seed in seeds:
                jobs.append(
                    JobEntry(
                        run_id=f"{label}{seed}",
                        arm_id=f"arm-{label}",
                        label=label,
                        seed=seed,
                        folder=f"{label}-{seed}",
                        roles=[{"study": "s", **role} for role in roles],
                    )
                )
                if label == without:
                    continue
                cost = {"train_seconds": _seconds(label, seed), "peak_memory_bytes": 800 - 300 * ("u" in changes)}
                where = f"{name}/{label}-{seed}"
                write_run(label, seed, accuracy(label, seed), folder=where, config=config_of(changes), cost=cost)
        folder = outputs / name
        written = Sweep(name=name, jobs=[*extra, *jobs]).model_dump(mode="json")
        (folder / "sweep.json").write_text(json.dumps(written))
        return folder

    return write


def _seconds(label: str, seed: int) -> float:
    return (1000.0 - 400 * ("u" in ARMS[label][0])) * (1 + 0.01 * seed)


def read(folder: Path) -> Ablation:
    (found,) = ablations([folder], comparable(find_runs([folder])).arms)
    return found


def gains(without: str, having: str) -> np.ndarray:
    return np.array([accuracy(having, seed) - accuracy(without, seed) for seed in SEEDS])


PAIRS = {
    ("u", "leave_one_out"): ("b - u", "b"),
    ("v", "leave_one_out"): ("b - v", "b"),
    ("w", "leave_one_out"): ("b - w", "b"),
    ("u", "add_one"): ("a", "a + u"),
    ("v", "add_one"): ("a", "a + v"),
    ("w", "add_one"): ("a", "a + w"),
    ("u", "ladder"): ("a", "a + u"),
    ("v", "ladder"): ("a + u", "b - w"),
    ("w", "ladder"): ("b - w", "b"),
}


def test_every_effect_in_report_json_is_what_scipy_says(write_study: WriteStudy, tmp_path: Path) -> None:
    build([write_study()], tmp_path / "report")
    (study,) = json.loads((tmp_path / "report/report.json").read_text())["ablation"]
    changes = {one["change"]: one for one in study["changes"]}
    tests = {pair: distributions.ttest_1samp(gains(*pair), 0) for pair in {*PAIRS.values(), ("a", "b")}}
    ranked = sorted(tests, key=lambda pair: tests[pair].pvalue)
    corrected, highest = {}, 0.0
    for rank, pair in enumerate(ranked):
        highest = max(highest, min(1.0, tests[pair].pvalue * (len(ranked) - rank)))
        corrected[pair] = highest
    assert study["tests"] == len(tests) == 8
    for (change, place), pair in [*PAIRS.items(), (("total", ""), ("a", "b"))]:
        effect = changes[change][place] if place else study["total"]
        assert (effect["without"], effect["having"], effect["n"]) == (*pair, len(SEEDS))
        assert effect["difference"] == pytest.approx(gains(*pair).mean(), abs=1e-12)
        assert effect["ci95"] == pytest.approx(tuple(tests[pair].confidence_interval()), abs=1e-12)
        assert effect["p"] == pytest.approx(tests[pair].pvalue, rel=1e-9)
        assert effect["p_holm"] == pytest.approx(corrected[pair], rel=1e-9)
    assert [one["change"] for one in study["changes"]] == ["v", "w", "u"]
    assert [step["changes"] for step in study["ladder"]] == [["u"], ["v"], ["w"]]


def test_interactions_are_differences_of_differences(write_study: WriteStudy) -> None:
    study = {one.change: one for one in read(write_study()).changes}
    p_values = {}
    for change in "uvw":
        expected = distributions.ttest_1samp(gains(f"b - {change}", "b") - gains("a", f"a + {change}"), 0)
        found = study[change].interaction
        assert found is not None
        assert found.ci95 == pytest.approx(tuple(expected.confidence_interval()), abs=1e-12)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        p_values[change] = expected.pvalue
    smallest = min(p_values, key=lambda change: p_values[change])
    assert study[smallest].interaction_p_holm == pytest.approx(3 * p_values[smallest])


def test_costs_are_ratios_of_the_same_seeds(write_study: WriteStudy) -> None:
    one = next(one for one in read(write_study()).changes if one.change == "u")
    assert one.leave_one_out is not None
    assert one.leave_one_out.seconds is not None
    assert one.leave_one_out.seconds.ratio == pytest.approx(0.6)
    assert one.leave_one_out.memory is not None
    assert one.leave_one_out.memory.ratio == pytest.approx(500 / 800)
    assert one.leave_one_out.memory.ci95 == pytest.approx((500 / 800, 500 / 800))


def test_costs_do_not_compare_across_devices_or_other_processes(write_study: WriteStudy, write_run: WriteRun) -> None:
    folder = write_study()
    for seed in SEEDS:
        write_run("b - u", seed, accuracy("b - u", seed), folder=f"ablate_a_b/b - u-{seed}", config=config_of("vw"),
                  provenance={"device": "another"})  # fmt: skip
        other = config_of("v") | {"loader": {"workers": 6}}
        write_run("a + v", seed, accuracy("a + v", seed), folder=f"ablate_a_b/a + v-{seed}", config=other)
    study = {one.change: one for one in read(folder).changes}
    assert study["u"].leave_one_out is not None
    assert study["u"].leave_one_out.seconds is None
    assert study["u"].add_one is not None
    assert study["u"].add_one.seconds is not None
    assert study["v"].add_one is not None
    assert study["v"].add_one.seconds is study["v"].add_one.memory is None


def test_settings_are_those_of_the_records(write_study: WriteStudy) -> None:
    study = {one.change: ablation_tables.settings(one) for one in read(write_study()).changes}
    assert study == {"u": "28 to 16", "v": "0.1 to 0.8", "w": "null to 0.5"}


def test_an_arm_that_is_missing_leaves_gaps_that_are_named(write_study: WriteStudy, tmp_path: Path) -> None:
    folder = write_study(without="b - w")
    study = read(folder)
    found = {one.change: one for one in study.changes}
    assert found["w"].leave_one_out is None
    assert found["w"].ladder is None
    assert found["w"].add_one is not None
    assert [step.effect is None for step in study.steps] == [False, True, True]
    assert study.missing == ["b - w"]
    assert study.changes[-1].change == "w"
    assert any("Without a completed run, so without figures: b - w." in said for said in findings(study))
    build([folder], tmp_path / "report")
    assert (tmp_path / "report/ladder.png").is_file()


def test_one_seed_has_no_interval_and_no_star(write_study: WriteStudy, tmp_path: Path) -> None:
    study = read(write_study(seeds=[0]))
    assert study.tests == 0
    for one in study.changes:
        assert all(effect.paired.ci95 is None and effect.p_holm is None for effect in one.effects)
        assert one.interaction is not None
        assert one.interaction.ci95 is None
        assert not any("*" in cell or "(" in cell for cell in ablation_tables.worth_cells(one)[2:5])
    said = findings(study)
    assert said[-1].startswith("One seed an arm: the differences have no intervals")
    assert not any("depend" in one or "owes" in one for one in said)


def test_two_seeds_are_said_to_be_few(write_study: WriteStudy) -> None:
    said = findings(read(write_study(seeds=[0, 1])))
    assert said[-1].startswith("8 of 8 differences rest on fewer than 3 common seeds")


def test_the_words_name_what_is_resolved_and_what_depends_on_the_others(write_study: WriteStudy) -> None:
    study = read(write_study())
    said = " ".join(findings(study))
    assert "All 3 changes together, b against a:" in said
    assert "b owes accuracy to v (" in said
    assert "b would be better without u (" in said
    alone, among = (100 * gains(*pair).mean() for pair in (("a", "a + u"), ("b - u", "b")))
    assert f"u is worth {alone:+.2f} added to a and {among:+.2f} in b: it seems to depend" in said
    assert "Added to a one by one the changes come to" in said


def test_two_changes_that_are_one_step_have_no_step_of_their_own(write_study: WriteStudy) -> None:
    folder = write_study()
    stored = json.loads((folder / "sweep.json").read_text())
    for job in stored["jobs"]:
        job["roles"] = [
            role | {"ladder": "new", "step": {0: 0, 3: 1}[role["step"]], "changes": ["u", "v", "w"][: role["step"]]}
            if role["kind"] == "ladder"
            else role
            for role in job["roles"]
            if role.get("step") not in (1, 2)
        ]
    (folder / "sweep.json").write_text(json.dumps(stored))
    study = read(folder)
    assert [step.changes for step in study.steps] == [["u", "v", "w"]]
    assert all(one.ladder is None and one.add_one is not None for one in study.changes)


def test_what_an_earlier_command_left_in_sweep_json_is_passed_over(write_study: WriteStudy) -> None:
    old = JobEntry(run_id="x", arm_id="arm-a + v", label="old", seed=0, folder="x", roles=[
        {"study": "other", "kind": "a"},
        {"study": "s", "kind": "ladder", "ladder": "vuw", "step": 1, "changes": ["v"]},
    ])  # fmt: skip
    study = read(write_study(extra=[old]))
    assert study.a == "a"
    assert [step.changes for step in study.steps] == [["u"], ["v"], ["w"]]


def test_a_sweep_without_roles_is_no_ablation(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("base", 0, 0.7)
    job = JobEntry(run_id="base0", arm_id="arm-base", label="base", seed=0, folder="base/arm-base-0")
    (outputs / "sweep.json").write_text(json.dumps(Sweep(name="dropout", jobs=[job]).model_dump(mode="json")))
    report = build([outputs], tmp_path / "report")
    assert report.ablations == []
    assert json.loads((tmp_path / "report/report.json").read_text())["ablation"] == []
    assert "What each change is worth" not in (tmp_path / "report/report.md").read_text()


def test_the_page_has_words_tables_and_plots(write_study: WriteStudy, tmp_path: Path) -> None:
    build([write_study()], tmp_path / "report")
    page = (tmp_path / "report/report.md").read_text()
    section = page.split("## What each change is worth\n")[1].split("\n## ")[0]
    assert "![What each change is worth, with its 95% interval](effects.png)" in section
    assert "(ladder.png)" in section
    assert "| change | settings | in b | added to a | its step of the ladder | training time |" in section
    assert (
        section.count("\n| u |") == 3
    )  # what it is worth, and its two tests: added to a is its step of the ladder too


def test_several_ablations_each_have_their_section(write_study: WriteStudy, outputs: Path, tmp_path: Path) -> None:
    write_study("one")
    write_study("two")
    out = tmp_path / "report"
    build([outputs], out)
    page = (out / "report.md").read_text()
    assert "## What each change is worth: one\n" in page
    assert "## What each change is worth: two\n" in page
    assert {path.name for path in out.glob("[el]*.png")} >= {"effects.png", "effects_2.png", "ladder_2.png"}
    build([outputs / "one"], out)
    assert not (out / "effects_2.png").exists()


def test_the_plots_show_every_place_in_its_colour(write_study: WriteStudy, tmp_path: Path) -> None:
    assert ablation_plot.draw([read(write_study())], tmp_path) == {"ablate_a_b": ["effects.png", "ladder.png"]}
    with Image.open(tmp_path / "effects.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64) @ [1 << 16, 1 << 8, 1]
    found = {f"#{pixel:06X}" for pixel in np.unique(pixels)}
    assert {ablation_plot.IN_B, ablation_plot.ADDED, ablation_plot.STEP} <= found


def test_the_terminal_shows_every_change_within_eighty_columns(write_study: WriteStudy) -> None:
    console = Terminal(width=80, record=True, file=io.StringIO())
    print_ablation(read(write_study()), console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line.split() for line in lines if line.startswith("u "))
    mean, interval = gains("b - u", "b").mean(), distributions.ttest_1samp(gains("b - u", "b"), 0).confidence_interval()
    assert row[1] == f"{100 * mean:+.2f}"
    assert row[2].rstrip("*") == f"±{50 * (interval.high - interval.low):.2f}"
    assert row[-1] == "x0.60"
