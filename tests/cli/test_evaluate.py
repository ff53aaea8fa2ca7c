"""`wrnexp evaluate`: what is printed, what is kept, which run is meant, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from wrnexp import cli
from wrnexp.data import load
from wrnexp.runs.record import LaterEvaluation, read_evaluations, read_record
from wrnexp.trained import Trained, evaluate_run


def call(*arguments: str | Path) -> int:
    return cli.main(["evaluate", *map(str, arguments), "--device", "cpu"])


def test_the_record_is_left_and_looks_are_counted(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file() and path.name != ".lock"}
    file = copied_run.parent / "found.json"
    assert call(copied_run) == 0
    assert call(copied_run, "--tta", "--json", file) == 0
    text = capsys.readouterr().out
    assert "base, seed 0: 48 test images of shapes, on " in text
    assert text.count("The figures are the record's, to the last digit.") == 2
    assert text.count("now, mean with the mirror image") == 1
    assert "The test set was read 3 times for this run" in text  # twice in training, once more, once more
    assert "The test set was read 4 times for this run" in text
    assert all(path.read_bytes() == content for path, content in before.items())
    first, second = read_evaluations(copied_run)
    assert first.mirrored is None
    written = json.loads(file.read_text())
    assert written["mirrored"] == second.mirrored
    assert written["metrics"] == second.metrics
    record = read_record(copied_run)
    assert (written["run_id"], written["record"]) == (record.run_id, record.metrics)
    assert f"{100 * record.metrics['test_accuracy']:.2f}" in text  # type: ignore[operator]


def test_a_difference_is_told(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads((copied_run / "record.json").read_text())
    raw["metrics"]["test_accuracy"] -= 1 / 48
    raw["provenance"]["device"] = "another"
    (copied_run / "record.json").write_text(json.dumps(raw))
    assert call(copied_run) == 0
    text = capsys.readouterr().out
    assert "The figures differ from the record's (accuracy by +0.021)." in text
    assert "instead of another" in text
    assert not read_evaluations(copied_run)[0].equal_to_record


def test_no_figure_of_a_damaged_store_is_printed(
    copied_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load("shapes", None, 0, None, None, False)
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(data.test.path.parent, tmp_path / "cache" / "store" / data.test.path.parent.name))
    shutil.copytree(data.test.path.parents[2] / "sources", tmp_path / "cache" / "sources")
    pixels = (folder / "test.npy").read_bytes()
    (folder / "test.npy").write_bytes(pixels[:-9] + bytes([pixels[-9] ^ 4]) + pixels[-8:])
    assert call(copied_run) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert f"{folder / 'test.npy'} is damaged: its content is not what was stored; remove {folder}" in line
    assert not (copied_run / "evaluations.json").exists()


def test_damaged_weights_are_one_line(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = (copied_run / "model.safetensors").read_bytes()
    (copied_run / "model.safetensors").write_bytes(weights[:-4096] + bytes(4096))
    assert call(copied_run) == 2
    assert cli.main(["predict", str(copied_run), "nothing.png"]) == 2
    assert cli.main(["export", str(copied_run), "--format", "safetensors"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 3
    assert all("model.safetensors is damaged" in line for line in printed.err.splitlines())


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b'{"run_id": "a", "evaluations": [{"metrics": []}]}'])
def test_damaged_evaluations_are_one_line(copied_run: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (copied_run / "evaluations.json").write_bytes(content)
    assert call(copied_run) == 2
    printed = capsys.readouterr()
    assert printed.out == ""  # the test set is not read where that cannot be counted
    (line,) = printed.err.splitlines()
    assert "evaluations.json cannot be used" in line
    assert (copied_run / "evaluations.json").read_bytes() == content


def test_runs_are_named_by_folder_label_or_id(
    copied_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "base").mkdir(parents=True)
    copied_run.rename(tmp_path / "outputs" / "base" / "one")
    run_id = read_record(tmp_path / "outputs" / "base" / "one").run_id
    for name in ("base", run_id, "outputs/base/one"):
        assert call(name) == 0
    assert call("nothing") == 2
    other = tmp_path / "multirun" / "sweep" / "other"
    other.mkdir(parents=True)
    (other / "record.json").write_bytes((tmp_path / "outputs" / "base" / "one" / "record.json").read_bytes())
    assert call("base") == 2
    error = capsys.readouterr().err
    assert "error: nothing is no folder, and no run in outputs or multirun has this run_id or label" in error
    assert "error: base names 2 runs: give the folder of one (outputs/base/one, multirun/sweep/other)" in error


def test_corruptions_are_of_cifar_only(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(copied_run, "--corruptions") == 2
    assert capsys.readouterr().err == (
        "error: there are corrupted test images for cifar100 and cifar10, not for shapes\n"
    )
    assert read_evaluations(copied_run) == []


def test_figures_that_cannot_be_kept_are_shown(
    copied_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate_while_another_breaks_the_file(run: Trained, **options: Any) -> LaterEvaluation:
        (copied_run / "evaluations.json").write_text("{")
        return evaluate_run(run, **options)

    monkeypatch.setattr("wrnexp.trained.evaluate_run", evaluate_while_another_breaks_the_file)
    assert call(copied_run) == 2
    shown = capsys.readouterr()
    assert "The figures are the record's" in shown.out
    assert "evaluations.json cannot be used (not valid JSON" in shown.err
    assert "the figures above are not kept" in shown.err
    assert (copied_run / "evaluations.json").read_text() == "{"


def test_a_place_that_cannot_be_written(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied_run / "evaluations.json").mkdir()
    assert call(copied_run) == 2
    assert "evaluations.json cannot be used (it cannot be read (" in capsys.readouterr().err
