"""`wrnexp plan`: what a sweep needs to answer its question, what it costs, and what it can find as it stands."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrnexp.errors import UserError
from wrnexp.process.terminal import Terminal

if TYPE_CHECKING:
    from wrnexp.cli.plan.sources import Planned

ROOT = Path(__file__).parents[3]
RECORDS = (Path("outputs"), Path("multirun"), ROOT / "results")

ARGUMENTS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (
        ("sweep",),
        {
            "metavar": "SWEEP",
            "help": "a file of sweeps/ by its name, such as dropout; or the folder of a sweep that has begun, such as "
            "multirun/dropout, whose records tell the spread",
        },
    ),
    (("overrides",), {"metavar": "OVERRIDE", "nargs": "*", "help": "as after run.py: +scale=small, seed=0,1,2"}),
    (
        ("--effect",),
        {
            "metavar": "POINTS",
            "type": float,
            "default": 0.4,
            "help": "difference of test accuracy to find, in percentage points (default: %(default)s)",
        },
    ),
    (
        ("--sd",),
        {
            "metavar": "POINTS",
            "type": float,
            "help": "standard deviation of test accuracy between the seeds of one arm, in percentage points (default: "
            "measured where runs of the sweep are done, else 0.3)",
        },
    ),
    (
        ("--power",),
        {"metavar": "SHARE", "type": float, "default": 0.8, "help": "probability of finding it (default: %(default)s)"},
    ),
]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "plan",
        help="seeds, runs and hours that a sweep needs to answer its question",
        description="Seeds an arm, runs, hours and GPU-hours that a sweep needs to find an effect, from the power of "
        "the paired t-test and from measured epoch times; and what the sweep can find as it stands.",
    )
    for names, options in ARGUMENTS:
        parser.add_argument(*names, **options)
    parser.set_defaults(run=plan)


def plan(args: argparse.Namespace) -> int:
    """Print the plan of one sweep; that a sweep cannot answer its question is an answer, and exits 0."""
    # scipy, pydantic and hydra take a second to import: `wrnexp --help` should not wait for them.
    from wrnexp.cli.plan.costs import costs
    from wrnexp.cli.plan.show import show
    from wrnexp.cli.plan.statistics import Aim, deviation, needs

    _check(args)
    planned = _planned(args.sweep, args.overrides)
    spread = deviation(planned, None if args.sd is None else args.sd / 100)
    aim = Aim(args.effect / 100, args.power)
    show(planned, costs(planned, RECORDS), aim, spread, needs(planned, aim, spread), Terminal())
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what no sweep could be planned for, all in one message."""
    wrong = []
    if not 0 < args.effect < 100:
        wrong.append(f"--effect {args.effect:g}: a difference in percentage points, above 0 and below 100")
    if args.sd is not None and not 0 < args.sd < 100:
        wrong.append(f"--sd {args.sd:g}: a standard deviation in percentage points, above 0 and below 100")
    if not 0.05 < args.power < 1:
        wrong.append(f"--power {args.power:g}: a probability above 0.05 (the level of the test) and below 1")
    if wrong:
        raise UserError("; ".join(wrong))


def _planned(name: str, overrides: list[str]) -> "Planned":
    from wrnexp.cli.plan.sources import from_file, from_folder, kept_sweeps

    if name not in kept_sweeps(ROOT) and Path(name).is_dir():
        if overrides:
            raise UserError(
                f"{name} is a folder: it has the settings of its runs, so {' '.join(overrides)} has no place"
            )
        return from_folder(Path(name))
    return from_file(name, overrides, ROOT)
