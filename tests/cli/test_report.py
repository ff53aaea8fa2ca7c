import argparse
import json
from pathlib import Path

import pytest

from wrnexp.cli.report import add_parser
from wrnexp.errors import UserError
from wrnexp.runs.record import Cost, DataInfo, Record, write_record

ACCURACIES = {"base": [0.710, 0.712, 0.711], "light": [0.700, 0.701, 0.703], "wide": [0.720, 0.721, 0.725]}


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write three arms to `outputs` in an empty working directory and return that directory."""
    monkeypatch.chdir(tmp_path)
    for label, values in ACCURACIES.items():
        for seed, accuracy in enumerate(values):
            record = Record(
                status="completed",
                run_id=f"{label}{seed}",
                arm_id=label,
                label=label,
                seed=seed,
                metrics={"test_accuracy": accuracy},
                cost=Cost(train_seconds=100.0),
                data=DataInfo(name="cifar100", digest={"test": "d3cd5d87"}, train=50_000, val=0, test=10_000),
            )
            write_record(tmp_path / "outputs" / label / record.run_id, record)
    return tmp_path / "outputs"


def _call(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args([*map(str, arguments)])
    return int(args.run(args))


def _pairs(folder: Path) -> list[tuple[str, str]]:
    return [(pair["a"], pair["b"]) for pair in json.loads((folder / "report.json").read_text())["pairs"]]


def test_report_writes_into_the_first_folder(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _call("report", "outputs/light", "outputs/base", "outputs") == 0
    assert _pairs(outputs / "light" / "report") == [("base", "light"), ("base", "wide")]
    shown = " ".join(capsys.readouterr().out.split())
    assert "light is 0.97 points worse than base" in shown
    assert "Report: outputs/light/report/report.md" in shown


def test_a_second_report_does_not_take_the_first_for_a_run(outputs: Path) -> None:
    for _ in range(2):
        assert _call("report", outputs) == 0
    assert json.loads((outputs / "report" / "report.json").read_text())["excluded"] == []


def test_report_takes_a_baseline_and_a_place(outputs: Path, tmp_path: Path) -> None:
    assert _call("report", outputs, "--baseline", "wide", "--out", tmp_path / "here") == 0
    assert _pairs(tmp_path / "here") == [("wide", "base"), ("wide", "light")]


def test_compare_looks_in_outputs_and_multirun(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "wide").rename(outputs.parent / "multirun")
    assert _call("compare", "base", "wide") == 0
    assert _pairs(outputs / "compare-base-wide") == [("base", "wide")]
    assert "comparable" in capsys.readouterr().out


def test_compare_takes_folders_of_runs_and_a_place(outputs: Path, tmp_path: Path) -> None:
    assert _call("compare", "light", "outputs/base/base0", "--dir", "outputs/light", "--out", tmp_path / "here") == 0
    assert _pairs(tmp_path / "here") == [("light", "base")]


def test_compare_of_two_folders_needs_no_other(outputs: Path) -> None:
    outputs.rename(outputs.parent / "kept")
    assert _call("compare", "kept/base/base0", "kept/light/light0") == 0
    assert _pairs(outputs.parent / "compare-base0-light0") == [("base", "light")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere"], "nowhere is not a folder"),
        (["report", "outputs", "--baseline", "bass"], r"no arm is labelled 'bass'\. Did you mean 'base'\?"),
        (["compare", "base", "lihgt"], r"Did you mean 'light'\? There are: 'base', 'light', 'wide'\."),
        (["compare", "base", "base"], "are the same arm"),
        (["compare", "base", "light", "--dir", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_mistakes_are_told_in_one_line(outputs: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        _call(*arguments)
    assert "\n" not in str(caught.value)


def test_compare_without_any_folder_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="--dir"):
        _call("compare", "base", "light")


def test_empty_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no record\.json"):
        _call("report", tmp_path)
