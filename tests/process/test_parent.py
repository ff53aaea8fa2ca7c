"""A process that is told when the one that started it is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wrnexp.process.parent import when_parent_is_gone

STARTED = """
import multiprocessing, os, sys, time
from pathlib import Path
from wrnexp.process.parent import when_parent_is_gone

def child(folder):
    def gone():
        Path(folder, "told").touch()
        os._exit(0)

    when_parent_is_gone(gone)
    Path(folder, "watching").touch()
    time.sleep(240)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child, args=(sys.argv[1],)).start()
    time.sleep(240)
"""


def _until(path: Path) -> None:
    deadline = time.monotonic() + 240
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_it_is_told_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "started.py"
    script.write_text(STARTED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    _until(tmp_path / "watching")
    assert not (tmp_path / "told").exists()
    parent.kill()
    parent.wait()
    _until(tmp_path / "told")


def test_a_process_of_its_own_watches_nothing() -> None:
    when_parent_is_gone(lambda: pytest.fail("it has no parent to lose"))
