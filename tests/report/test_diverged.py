"""Diverged runs in reports: in no arm, listed apart with the reason, and named where an arm has no other runs."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wrnexp.errors import UserError
from wrnexp.process.terminal import Terminal
from wrnexp.report.build import build
from wrnexp.report.collect import find_runs
from wrnexp.report.text.console import print_report
from wrnexp.runs.record import Divergence

WriteRun = Callable[..., Path]

AT = Divergence(step=7, lr=1e4, grad_norm=None, loss=1.9e32)
FAILED: dict[str, Any] = {
    "status": "failed",
    "error": "DivergedError: the gradient norm is not finite at step 7",
    "divergence": AT,
}


@pytest.fixture
def report(write_run: WriteRun, outputs: Path, tmp_path: Path) -> Path:
    """Report on two arms, one that lost a run, and one that lost all, and return the report's folder."""
    for seed in range(3):
        write_run("base", seed, 0.7 + seed / 100)
        write_run("light", seed, 0.6 + seed / 100)
        write_run("hot", seed, None, **FAILED)
    write_run("light", 3, None, status="failed", error="DivergedError: the loss is not finite in epoch 1")
    write_run("base", 3, 0.7, status="interrupted")
    build([outputs], tmp_path / "report")
    return tmp_path / "report"


def _section(report: Path, title: str) -> str:
    text = (report / "report.md").read_text()
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_diverged_runs_are_in_report_json_with_the_step(report: Path) -> None:
    written = json.loads((report / "report.json").read_text())
    hot = {"label": "hot", "step": 7, "lr": 1e4, "grad_norm": None, "loss": 1.9e32}
    assert written["diverged"] == [
        *(
            {"run_id": f"run-hot-{seed}", "seed": seed, "reason": "the gradient norm is not finite at step 7"} | hot
            for seed in range(3)
        ),
        {"run_id": "run-light-3", "label": "light", "seed": 3, "reason": "the loss is not finite in epoch 1"}
        | dict.fromkeys(("step", "lr", "grad_norm", "loss")),
    ]
    excluded = {entry["run_id"]: entry["reason"] for entry in written["excluded"]}
    assert excluded.keys() == {"run-hot-0", "run-hot-1", "run-hot-2", "run-light-3", "run-base-3"}
    assert "DivergedError" in excluded["run-hot-0"]
    assert [(arm["label"], arm["n"]) for arm in written["arms"]] == [("base", 3), ("light", 3)]


def test_diverged_runs_have_a_section_of_their_own(report: Path) -> None:
    summary = (report / "report.md").read_text().partition("\n## ")[0]
    assert "4 runs diverged: 3 of hot and 1 of light." in summary
    assert "All runs of hot diverged: no figures." in summary
    section = _section(report, "Diverged runs")
    assert "| hot | 1 | 7 | 10000 | not finite | 1.9e+32 | the gradient norm is not finite at step 7 |" in section
    assert "| light | 3 | - | - | - | - | the loss is not finite in epoch 1 |" in section
    left_out = _section(report, "Left out")
    assert "run-base-3" in left_out
    assert "run-hot" not in left_out
    assert "run-light" not in left_out


def test_diverged_runs_have_a_section_of_the_page(report: Path) -> None:
    pytest.importorskip("vl_convert")
    page = (report / "index.html").read_text()
    section = page.split('id="diverged"')[1].split("</section>")[0]
    assert "All runs of hot diverged: no figures." in page.split('id="summary"')[1].split("</section>")[0]
    assert section.count("the gradient norm is not finite at step 7") == 3
    assert "run-hot" not in page.split('id="left-out"')[1].split("</section>")[0]


def test_the_console_names_the_arms(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("base", 0, 0.7)
    write_run("hot [bold]", 0, None, **FAILED)
    console = Terminal(width=200, record=True, file=io.StringIO())
    print_report(build([outputs], tmp_path / "report"), console)
    shown = console.export_text()
    assert "1 run diverged: 1 of hot [bold].\nAll runs of hot [bold] diverged: no figures.\n" in shown
    assert "left out" not in shown
    assert _section(tmp_path / "report", "Left out").strip() == "No other run was left out."


def test_a_diverged_arm_is_told_apart_from_one_of_the_same_label(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    """`run.py` names its runs by their recipe, whatever the rate."""
    configs = [{"optim": {"lr": rate}} for rate in (0.1, 1e4)]
    for seed in range(2):
        write_run("base", seed, 0.7, config=configs[0], arm_id="first")
    write_run("another", 2, None, config=configs[0], arm_id="first", **FAILED)
    write_run("base", 0, None, config=configs[1], arm_id="second", run_id="hot", folder="hot", **FAILED)
    build([outputs], tmp_path / "report")
    summary = (tmp_path / "report" / "report.md").read_text().partition("\n## ")[0]
    assert "2 runs diverged: 1 of base and 1 of base (optim.lr=10000.0)." in summary
    assert "All runs of base (optim.lr=10000.0) diverged: no figures." in summary
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [run["label"] for run in written["diverged"]] == ["base", "base (optim.lr=10000.0)"]
    with pytest.raises(UserError, match=r"^'base \(optim.lr=10000.0\)' has no run that compares: .*DivergedError"):
        build([outputs], tmp_path / "report", "base (optim.lr=10000.0)")
    assert [arm["label"] for arm in written["arms"]] == ["base"]


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"test_nll": None}, "its final logits are not finite"),
        ({"train_loss": None}, "its training loss is not finite"),
    ],
)
def test_a_completed_run_of_an_earlier_version_that_answers_nan_is_in_no_arm(
    write_run: WriteRun, outputs: Path, tmp_path: Path, metrics: dict[str, None], reason: str
) -> None:
    for seed in range(2):
        write_run("base", seed, 0.7)
    write_run("base", 2, None, metrics={"test_accuracy": 0.0625, "test_nll": 2.0, "train_loss": 2.0} | metrics)
    write_run("old", 0, None, metrics={"test_accuracy": 0.5})  # has neither figure
    build([outputs], tmp_path / "report")
    written = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {arm["label"]: arm["seeds"] for arm in written["arms"]} == {"base": [0, 1], "old": [0]}
    (run,) = written["diverged"]
    assert (run["run_id"], run["step"], run["reason"]) == ("run-base-2", None, reason)
    (entry,) = written["excluded"]
    assert entry["reason"].endswith(f"it diverged: {reason}")


def test_only_diverged_runs_are_nothing_to_report_on(write_run: WriteRun, outputs: Path) -> None:
    write_run("hot", 0, None, **FAILED)
    with pytest.raises(UserError, match=r"no completed run .*the gradient norm is not finite at step 7"):
        find_runs([outputs])


def test_runs_that_recovered_are_used_with_a_note(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    skipped, rolled_back = (AT.model_copy(update={"action": action}) for action in ("skip", "rollback"))
    write_run("base", 0, 0.7, recoveries=[skipped, skipped])
    write_run("base", 1, 0.7, recoveries=[skipped])
    write_run("base", 2, 0.7)
    write_run("light", 0, 0.6, recoveries=[rolled_back])
    report = build([outputs], tmp_path / "report")
    assert [row.seeds for row in report.rows] == [[0, 1, 2], [0]]
    assert (
        "Training recovered from steps that diverged (trainer.on_divergence): 3 steps skipped in 2 runs of base and "
        "1 step rolled back in 1 run of light."
    ) in _section(tmp_path / "report", "How to read this")


def test_runs_of_several_programs_have_a_note(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    first: dict[str, Any] = {"code": "a1", "torch": "2.14.0", "precision": "fp32", "threads": 2, "epochs": [1, 3]}
    changes: list[dict[str, Any]] = [{"code": "b2"}, {"torch": "2.14.1"}, {"threads": 8}, {}]
    for seed, change in enumerate(changes):
        programs = [first, first | change | {"epochs": [4, 9]}]
        write_run("light", seed, 0.6, provenance={"programs": programs})
    for seed, damaged in enumerate(("text", [first, None], [])):
        write_run("base", seed, 0.7, provenance={"programs": damaged})
    build([outputs], tmp_path / "report")
    notes = _section(tmp_path / "report", "How to read this")
    assert "2 runs of light were trained by more than one program, which differ in code and torch;" in notes
    assert "of base" not in notes
