"""`wrnexp bench NAME`: how fast, against what; every ratio is measured in one run, the two sides in turn."""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wrnexp.records import write_json


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark; `ratio` is value over reference, both null where there is no other side."""

    name: str
    value: float
    unit: str
    reference: float | None = None
    ratio: float | None = None


def alternate(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Run both sides in turn and return the medians of each, and of the ratio ours over theirs pair by pair.

    A machine whose speed drifts slows both sides of a pair alike.
    """
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    mine, other = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(other), statistics.median(a / b for a, b in pairs)


def compared(name: str, unit: str, ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> Figure:
    """Return the figure of two sides that `alternate`."""
    value, reference, ratio = alternate(ours, theirs, rounds)
    return Figure(name, value, unit, reference, ratio)


def positive(text: str) -> int:
    """Return a whole number of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command with its benchmarks."""
    from wrnexp.cli.bench import augment, loader, memory, startup, step

    parser = subparsers.add_parser("bench", help="how fast, against what", description=__doc__)
    names = parser.add_subparsers(metavar="NAME", required=True)
    for module in (step, augment, loader, memory, startup):
        one = module.add_parser(names)
        one.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
        one.set_defaults(run=run, measure=module.measure)


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, write JSON where asked."""
    figures: list[Figure] = args.measure(args)
    table = Table("what", "value", "unit", "reference", "ratio", show_edge=False)
    for one in figures:
        reference = "" if one.reference is None else f"{one.reference:,.1f}"
        table.add_row(
            one.name, f"{one.value:,.1f}", one.unit, reference, "" if one.ratio is None else f"{one.ratio:.2f}"
        )
    Console(highlight=False).print(table)
    if args.json:
        write_json(args.json, [asdict(one) for one in figures])
    return 0
