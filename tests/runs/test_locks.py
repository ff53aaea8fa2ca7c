"""Locks between processes, of runs that one process holds and runs that another one writes for."""

import subprocess
import sys
from pathlib import Path

import pytest

from wrnexp.errors import BusyError
from wrnexp.runs.locks import exclusive_run, exclusive_writer, is_locked

HOLD = """
import sys
from pathlib import Path
from wrnexp.runs import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["exclusive_run", "exclusive_writer"])
def test_a_folder_is_held_until_its_process_is_gone(tmp_path: Path, how: str) -> None:
    assert not is_locked(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, how, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    assert is_locked(tmp_path)
    with pytest.raises(BusyError, match="another process is training this run"), exclusive_run(tmp_path):
        raise AssertionError("two at once")
    other.kill()
    other.communicate()
    with exclusive_run(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_who_holds_a_run_may_have_another_write_for_it(tmp_path: Path) -> None:
    with exclusive_run(tmp_path), exclusive_writer(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_a_folder_whose_lock_cannot_be_opened_is_held_by_nobody_here(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()  # as on a disk that is read only, opening it fails
    assert not is_locked(tmp_path)
