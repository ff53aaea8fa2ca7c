"""The state of a run's files: what its record says of them."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.damage import broken, flipped
from wrnexp.runs.digests import FileState, bytes_digest, damaged_files, file_digest, file_state
from wrnexp.runs.record import Record

DATA = bytes(range(256)) * 64
FILE = "weights"


def record(**files: str) -> Record:
    return Record(run_id="r", arm_id="a", label="base", seed=0, files=files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FILE).write_bytes(DATA)
    return tmp_path


def test_digests_are_sha256(folder: Path) -> None:
    assert bytes_digest(DATA) == file_digest(folder / FILE) == hashlib.sha256(DATA).hexdigest()


def test_states(folder: Path) -> None:
    whole = record(weights=bytes_digest(DATA))
    assert file_state(folder, whole, FILE) is FileState.WHOLE
    assert file_state(folder, record(), FILE) is FileState.UNRECORDED
    assert file_state(folder, whole, "other") is FileState.ABSENT
    assert file_state(folder, record(weights="no digest"), FILE) is FileState.DAMAGED
    (folder / FILE).unlink()
    assert file_state(folder, whole, FILE) is FileState.ABSENT


def test_damage_of_every_kind_is_noticed(folder: Path) -> None:
    whole = record(weights=bytes_digest(DATA))
    damage = [*flipped(DATA, 25, seed=0, header=16), *(data for _, data in broken(DATA, seed=1))]
    for data in damage:
        (folder / FILE).write_bytes(data)
        assert file_state(folder, whole, FILE) is FileState.DAMAGED
    (folder / FILE).unlink()
    (folder / FILE).mkdir()
    assert file_state(folder, whole, FILE) is FileState.DAMAGED


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_damage_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    assert file_state(tmp_path, record(weights=bytes_digest(DATA)), FILE) is FileState.DAMAGED
    assert file_state(tmp_path, record(), FILE) is FileState.DAMAGED


def test_the_files_that_are_damaged(folder: Path) -> None:
    (folder / "whole").write_bytes(b"1")
    described = record(weights=bytes_digest(b"other"), whole=bytes_digest(b"1"), absent=bytes_digest(b""))
    assert damaged_files(folder, described) == [FILE]
    assert damaged_files(folder, record()) == []
