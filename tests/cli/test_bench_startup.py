"""`wrnexp bench startup`: processes that really start, and what is said where there is none to start."""

import json
from pathlib import Path

import pytest

import wrnexp
from wrnexp import cli
from wrnexp.cli.bench import startup
from wrnexp.errors import UserError
from wrnexp.runs.record import read_record

ROOT = Path(__file__).parents[2]


def test_a_first_step_has_parts_that_come_one_after_the_other(tmp_path: Path) -> None:
    found = startup._to_first_step(ROOT / "run.py", tmp_path, ["trainer.device=cpu"])
    assert list(found) == list(startup.PARTS)
    assert all(seconds > 0 for seconds in found.values())
    (folder,) = (tmp_path / "outputs" / "base").iterdir()
    record = read_record(folder)  # of a real run, which ended there
    assert (record.status, record.cost.steps) == ("failed", 0)
    assert record.cost.parameters is not None


@pytest.mark.slow
def test_an_answer_and_a_first_step_with_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "startup.json"
    assert cli.main(["bench", "startup", "--rounds", "1", "--json", str(path), "trainer.device=cpu"]) == 0
    answer, step, *parts = json.loads(path.read_text())
    assert answer["unit"] == step["unit"] == "s"
    assert 0 < answer["value"] < step["value"]
    assert answer["ratio"] == pytest.approx(answer["value"] / answer["reference"])
    assert [part["name"].split(": ")[1] for part in parts] == list(startup.PARTS)
    assert all(part["value"] > 0 for part in parts)
    assert sum(part["value"] for part in parts) == pytest.approx(step["value"])
    assert {found.name for found in tmp_path.iterdir()} == {"startup.json"}  # the run left nothing here


def test_run_py_of_this_folder_wins_over_the_one_beside_the_package(tmp_path: Path) -> None:
    assert startup.find_run(tmp_path) == ROOT / "run.py"
    (tmp_path / "conf").mkdir()
    (tmp_path / "run.py").touch()
    assert startup.find_run(tmp_path) == ROOT / "run.py"  # somebody else's: it has no conf
    (tmp_path / "conf" / "config.yaml").touch()
    assert startup.find_run(tmp_path) == tmp_path / "run.py"


def test_no_run_py_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrnexp, "__file__", str(tmp_path / "site-packages" / "wrnexp" / "__init__.py"))
    with pytest.raises(UserError, match=r"no run\.py with its conf/ in .*checkout"):
        startup.find_run(tmp_path)


def test_a_run_that_fails_is_a_mistake_with_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"failed: .*no such key"):
        startup._to_first_step(ROOT / "run.py", tmp_path, ["model.droput=0.1"])
