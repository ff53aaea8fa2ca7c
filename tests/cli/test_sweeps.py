"""`wrnexp sweeps`: texts as they are, and sweeps that cannot be read beside others."""

from pathlib import Path

import pytest

from wrnexp.cli import main
from wrnexp.sweeps.sweep_json import JobEntry, Sweep, update_sweep

MARKUP = "is [/x] [bold]better[/bold] than :smile:?"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    entry = JobEntry(run_id="r", arm_id="a", label="l[/y]", seed=0, folder="0", state="failed", error="no [/z]")
    with update_sweep(tmp_path / "multirun" / "good", Sweep(name="good", question=MARKUP, jobs=[entry])):
        pass


def test_texts_with_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeps"]) == 0
    assert MARKUP in capsys.readouterr().out
    assert main(["sweeps", "good"]) == 0
    output = capsys.readouterr().out
    assert all(text in output for text in (MARKUP, "l[/y]", "no [/z]"))


def test_sweeps_that_cannot_be_read_leave_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {"cut": "{", "newer": '{"schema_version": 2}', "other": '{"name": []}'}.items():
        (tmp_path / "multirun" / name).mkdir()
        (tmp_path / "multirun" / name / "sweep.json").write_text(text)
    assert main(["sweeps"]) == 2
    output, errors = capsys.readouterr()
    assert MARKUP in output
    assert [line.split(" ")[1] for line in errors.splitlines()] == [
        f"multirun/{name}/sweep.json" for name in ("cut", "newer", "other")
    ]
