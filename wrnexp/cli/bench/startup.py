"""`wrnexp bench startup`: how long a command takes to answer, and a run to its first step, against `import torch`.

Every figure is the wall time of whole fresh processes, each followed by one that only imports torch, in the same
interpreter. The first step is that of a real run, WRN-10-1 on 96 drawn images, with its parts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import wrnexp
from wrnexp.cli.bench import Figure, compared, positive
from wrnexp.errors import UserError

# The run whose first step is timed; its data set is drawn once and cached, as any other.
RUN = (
    "data=shapes", "data.train_limit=96", "data.test_limit=48", "model.depth=10", "model.width=1",
    "loader.batch_size=16", "loader.workers=0", "tracking.wandb.mode=disabled",
    "tracking.console.progress=off", "rerun=true",
)  # fmt: skip
PARTS = ("imports", "data", "model", "first step")
Measured = dict[str, float]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("startup", help="s to an answer and to the first step", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5, help="processes of each kind (default: 5)")
    parser.add_argument("overrides", nargs="*", help="of the run that is started, for instance trainer.device=cpu")
    return parser


def measure(args: argparse.Namespace) -> list[Figure]:
    """Return the time of `run.py --cfg job`, that to the first step, and the parts of the latter."""
    script = find_run(Path.cwd())
    with tempfile.TemporaryDirectory() as folder:
        config = partial(_seconds, [sys.executable, str(script), *args.overrides, "--cfg", "job"], Path(folder))
        torch = partial(_seconds, [sys.executable, "-c", "import torch"], Path(folder))
        first = partial(_to_first_step, script, Path(folder), args.overrides)
        for side in (config, torch, first):  # warm up: the file cache, bytecode, drawn images, compiled kernels
            side()
        answer = compared("run.py --cfg job, against import torch", "s", config, torch, args.rounds)
        measured: list[Measured] = []

        def total() -> float:
            measured.append(first())
            return sum(measured[-1].values())

        step = compared("to the first step, against import torch", "s", total, torch, args.rounds)
    parts = [Figure(f"  of that: {part}", statistics.median(one[part] for one in measured), "s") for part in PARTS]
    return [answer, step, *parts]


def find_run(folder: Path) -> Path:
    """Return `run.py` of `folder`, else of the checkout that the package lies in.

    Raises:
        UserError: there is none.
    """
    beside = Path(wrnexp.__file__).parents[1]
    for place in (folder, beside):
        if (place / "run.py").is_file() and (place / "conf" / "config.yaml").is_file():
            return place / "run.py"
    raise UserError(
        f"there is no run.py with its conf/ in {folder} or in {beside}; call this from a checkout of wrnexp"
    )


def _seconds(command: Sequence[str], folder: Path) -> float:
    start = time.perf_counter()
    _call(command, folder)
    return time.perf_counter() - start


def _to_first_step(script: Path, folder: Path, overrides: Sequence[str]) -> Measured:
    """Start a run, end it after its first step, and return the seconds of each part, which sum to the whole."""
    probe = [sys.executable, "-m", "wrnexp.cli.bench.first_step", str(script), str(time.time()), *RUN, *overrides]
    passed: Measured = json.loads(_call(probe, folder).splitlines()[-1])
    times = [0.0, *(passed[part] for part in PARTS)]
    return {part: after - before for part, before, after in zip(PARTS, times, times[1:], strict=False)}


def _call(command: Sequence[str], folder: Path) -> str:
    """Run a command in `folder` with this package in front; return its standard output.

    Raises:
        UserError: it failed.
    """
    places = [str(Path(wrnexp.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    )
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no message"]
        raise UserError(f"{' '.join(command[:3])} failed: {last[0]}")
    return done.stdout
