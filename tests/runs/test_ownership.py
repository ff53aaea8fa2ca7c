"""Whose run a folder holds."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wrnexp.config import identity
from wrnexp.errors import UserError
from wrnexp.runs.ownership import own_record, require_own_checkpoint, require_own_folder, require_same_data
from wrnexp.runs.record import Divergence, Record, read_record, write_record

CONFIG: dict[str, Any] = {"optim": {"lr": 0.1, "epochs": 2}, "model": {"width": 1}, "seed": 0, "rerun": False}


def write(folder: Path, config: dict[str, Any] = CONFIG, **changes: Any) -> Record:
    folder.mkdir(exist_ok=True)
    ids = {"run_id": identity.run_id(config), "arm_id": identity.arm_id(config)}
    record = Record(**{**ids, "label": "base", "seed": 0, "config": config, "status": "completed"} | changes)
    write_record(folder, record)
    return record


def test_an_absent_record_is_none_and_an_own_one_is_returned(tmp_path: Path) -> None:
    assert require_own_folder(tmp_path / "run", CONFIG) is None
    assert require_own_folder(tmp_path, CONFIG) is None
    written = write(tmp_path)
    assert require_own_folder(tmp_path, CONFIG) == written


def test_another_run_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    write(tmp_path)
    other = CONFIG | {"optim": {"lr": 0.3, "epochs": 2, "momentum": 0.9}, "seed": 5}
    with pytest.raises(UserError) as error:
        require_own_folder(tmp_path, other)
    assert str(error.value).startswith(
        f"{tmp_path} holds run {identity.run_id(CONFIG)}, this is run {identity.run_id(other)}: they differ in "
        "optim.lr (0.1 there, 0.3 here), optim.momentum (absent there, 0.9 here), seed (0 there, 5 here); "
    )


def test_many_differing_keys_are_counted(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(UserError, match="3 more;"):
        require_own_folder(tmp_path, CONFIG | {"model": {f"key{number}": 1 for number in range(8)}})


def test_an_id_of_another_version_is_refused_too(tmp_path: Path) -> None:
    write(tmp_path, run_id="0123456789")
    with pytest.raises(UserError, match="another version of wrnexp named it"):
        require_own_folder(tmp_path, CONFIG)


def test_a_refusal_is_one_line_whatever_the_record_holds(tmp_path: Path) -> None:
    evil = "x\nerror: forged\x1b[2J"
    write(tmp_path, CONFIG | {"model": {evil: evil}}, run_id=evil)
    for config in (CONFIG, CONFIG | {"rerun": True}):
        with pytest.raises(UserError, match=r"holds run x\\nerror: forged\\x1b\[2J") as error:
            require_own_folder(tmp_path, config)
        assert str(error.value).isprintable()


@pytest.mark.parametrize("trace", ["record", "metrics", "checkpoint", "divergence", "busy"])
def test_a_folder_of_another_run_may_be_used_if_nothing_was_trained(tmp_path: Path, trace: str) -> None:
    record = write(tmp_path, status="failed")
    assert own_record(tmp_path, "another", {}) is None
    if trace == "record":
        record.cost.steps = 6
        write_record(tmp_path, record)
    elif trace == "divergence":
        record.divergence = Divergence(step=3, lr=0.1, grad_norm=None, loss=None)
        write_record(tmp_path, record)
    elif trace == "metrics":
        (tmp_path / "metrics.jsonl").touch()
    elif trace == "checkpoint":
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.pt").touch()
    with pytest.raises(UserError, match="holds run"):
        own_record(tmp_path, "another", {}, busy=trace == "busy")


def test_a_damaged_record_is_renamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "record.json").write_bytes(b'{"run_id": "\xff')
    assert require_own_folder(tmp_path, CONFIG) is None
    assert (tmp_path / "record.json.damaged").read_bytes() == b'{"run_id": "\xff'
    assert "renamed to record.json.damaged" in capsys.readouterr().err


def test_a_newer_record_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, schema_version=2)
    before = (tmp_path / "record.json").read_bytes()
    with pytest.raises(UserError, match="schema version 2 is newer than this program's 1; update wrnexp"):
        require_own_folder(tmp_path, CONFIG)
    assert (tmp_path / "record.json").read_bytes() == before


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_in_the_place_of_a_record_is_renamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], None]
) -> None:
    make(tmp_path / "record.json")
    assert require_own_folder(tmp_path, CONFIG) is None
    assert [path.name for path in tmp_path.iterdir()] == ["record.json.damaged"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "record.json is damaged (it cannot be read (it is a " in line


@pytest.mark.parametrize(
    ("status", "rerun", "resumes"),
    [
        ("completed", True, False),
        ("completed", False, False),
        ("interrupted", False, False),
        ("interrupted", True, True),
    ],
)
def test_a_rerun_resumes_itself_and_nothing_else(tmp_path: Path, status: str, rerun: bool, resumes: bool) -> None:
    write(tmp_path, CONFIG | {"rerun": rerun}, status=status)
    if resumes:
        assert require_own_folder(tmp_path, CONFIG | {"rerun": True}) == read_record(tmp_path)
        return
    with pytest.raises(UserError, match="rerun=true trains in a new folder"):
        require_own_folder(tmp_path, CONFIG | {"rerun": True})


def test_a_checkpoint_says_whose_it_is(tmp_path: Path) -> None:
    about = {"schema_version": 1, "run_id": identity.run_id(CONFIG), "config": identity.identity_config(CONFIG)}
    require_own_checkpoint(tmp_path, about, 2, CONFIG)
    require_own_checkpoint(tmp_path, {}, 0, CONFIG)
    with pytest.raises(UserError, match=r"is of run .* they differ in seed \(0 there, 1 here\)"):
        require_own_checkpoint(tmp_path, about, 1, CONFIG | {"seed": 1})
    with pytest.raises(UserError, match="schema version 7 is newer"):
        require_own_checkpoint(tmp_path, about | {"schema_version": 7}, 1, CONFIG)
    with pytest.raises(UserError, match="has 3 epochs, and this run 2"):
        require_own_checkpoint(tmp_path, {}, 3, CONFIG)  # of an earlier version, which does not say whose it is


def test_data_are_compared_by_split(tmp_path: Path) -> None:
    require_same_data(tmp_path, {"train": "a" * 64, "test": "b" * 64}, {"test": "b" * 64, "train": "a" * 64})
    with pytest.raises(UserError, match=r"\(test bbbbbbbb then, cccccccc now\): put the images back"):
        require_same_data(tmp_path, {"train": "a" * 64, "test": "b" * 64}, {"train": "a" * 64, "test": "c" * 64})
