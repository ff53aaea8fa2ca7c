"""Locks between processes, of runs that one process holds and runs that another one writes for."""

import subprocess
import sys
from pathlib import Path

import pytest

from wrnexp.errors import BusyError
from wrnexp.runs.locks import alone, held, writing

HOLD = """
import sys
from pathlib import Path
from wrnexp.runs import locks
with getattr(locks, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["alone", "writing"])
def test_a_folder_is_held_until_its_process_is_gone(tmp_path: Path, how: str) -> None:
    assert not held(tmp_path)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, how, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    assert held(tmp_path)
    with pytest.raises(BusyError, match="another process is training this run"), alone(tmp_path):
        raise AssertionError("two at once")
    other.kill()
    other.communicate()
    with alone(tmp_path):
        assert held(tmp_path)
    assert not held(tmp_path)


def test_who_holds_a_run_may_have_another_write_for_it(tmp_path: Path) -> None:
    with alone(tmp_path), writing(tmp_path):
        assert held(tmp_path)
    assert not held(tmp_path)


def test_a_folder_whose_lock_cannot_be_opened_is_held_by_nobody_here(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()  # as on a disk that is read only, opening it fails
    assert not held(tmp_path)
