"""Time, memory and size of a report on many runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.page.made import write_grid

pytest.importorskip("vl_convert")

MEASURED = """
import resource, sys
from pathlib import Path
from wrnexp.report.build import build
build([Path(sys.argv[1])], Path(sys.argv[2]))
used = resource.getrusage(resource.RUSAGE_SELF)
peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if (status := Path("/proc/self/status")).exists():  # ru_maxrss begins with what the process had that started this one
    peak = next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, peak)
"""


@pytest.mark.slow
def test_five_hundred_runs_take_less_than_20_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    runs = write_grid(tmp_path / "runs", 5, images=10_000, epochs=100, arms=100, val=True)
    out = tmp_path / "report"
    command = [sys.executable, "-c", MEASURED, str(runs), str(out)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, size = map(float, completed.stdout.split())
    assert seconds < 20  # of processor time, so that what else the machine does is not measured
    assert size < 1e9
    page = (out / "index.html").read_text()
    assert "There are 500 runs: only the answers of 30 were read" in page
    assert len(page) < 8e6


@pytest.mark.slow
def test_twenty_seven_runs_on_all_of_cifar_100_make_less_than_three_megabytes(tmp_path: Path) -> None:
    from wrnexp.report.build import build

    report = build([write_grid(tmp_path / "runs", 3, images=10_000, epochs=100)], tmp_path / "report")
    assert (report.folder / "index.html").stat().st_size < 3_000_000
