"""`wrnexp sweeps`: what sweeps there are, how far each is, and the jobs of one."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wrnexp.errors import UserError
from wrnexp.process.terminal import Terminal, printable, warn

if TYPE_CHECKING:
    from wrnexp.sweeps.estimates import Measured
    from wrnexp.sweeps.sweep_json import JobEntry, Sweep


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "sweeps",
        help="list sweeps: progress, failures, time left",
        description="List the sweeps below multirun, or the jobs of those that are named.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="SWEEP", help="a sweep's folder, or its name below DIR: show its jobs"
    )
    parser.add_argument("--dir", type=Path, default=Path("multirun"), help="where sweeps are (default: multirun)")
    parser.set_defaults(run=sweeps)


def sweeps(args: argparse.Namespace) -> int:
    """Print a table of all sweeps, or of the jobs of some; return 2 if one cannot be read."""
    from wrnexp.sweeps.estimates import Measured
    from wrnexp.sweeps.sweep_json import read_sweep
    from wrnexp.sweeps.tables import jobs_table, sweeps_table, totals

    console = Terminal(soft_wrap=True)
    measured = Measured.read([Path("outputs"), args.dir])
    if args.names:
        for folder in [_named(name, args.dir) for name in args.names]:
            sweep = read_sweep(folder)
            left = {job.key: _left([job], sweep, folder, measured) for job in sweep.jobs}
            console.print(printable(f"{folder}: {sweep.question or sweep.command}"), style="bold")
            console.print(jobs_table(sweep.jobs, folder, left))
            console.print(totals(sweep.jobs))
        return 0
    found = sorted(path.parent for path in args.dir.glob("*/sweep.json"))
    if not found:
        raise UserError(f"there is no sweep in {args.dir}: start one (run.py -m ...), or say with --dir where they are")
    read, errors = [], []
    for folder in found:
        try:
            read.append((folder, read_sweep(folder)))
        except UserError as error:
            errors.append(f"error: {error}")
    console.print(sweeps_table([(folder, one, _left(one.jobs, one, folder, measured)) for folder, one in read]))
    for line in errors:
        warn(line)
    return 2 if errors else 0


def _left(jobs: "Sequence[JobEntry]", sweep: "Sweep", folder: Path, measured: "Measured") -> str:
    """Return the time that some jobs still need, one after another; nothing where they are done."""
    from wrnexp.config import identity
    from wrnexp.sweeps.tables import duration

    open_ = [job for job in jobs if not job.over]
    if not open_:
        return ""
    times = [measured.remaining_seconds(identity.nested(sweep.settings_of(job)), folder / job.folder) for job in open_]
    known = [seconds for seconds in times if seconds is not None]
    return duration(sum(known)) if len(known) == len(times) else "not measured"


def _named(name: str, top: Path) -> Path:
    for folder in (top / name, Path(name)):
        if (folder / "sweep.json").is_file():
            return folder
    raise UserError(f"{name} is no sweep: no sweep.json in {top / name} or {name}; `wrnexp sweeps` lists them")
