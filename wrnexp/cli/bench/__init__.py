"""`wrnexp bench NAME`: how fast, against what; every ratio is measured in one run, the two sides in turn."""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from wrnexp.runs.record import write_json

NAME_WIDTH = 64


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
    from wrnexp.cli.bench import all, augment, loader, memory, profile, startup, step

    parser = subparsers.add_parser("bench", help="how fast, against what", description=__doc__)
    names = parser.add_subparsers(metavar="NAME", required=True)
    for module in (step, augment, loader, memory, startup, profile, all):
        benchmark = module.add_parser(names)
        benchmark.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
        benchmark.set_defaults(run=run, measure=module.measure)


def run(args: argparse.Namespace) -> int:
    """Measure; print each figure and write JSON where asked as soon as it is there, so that a stop loses none."""
    figures: list[Figure] = []
    print(_line("what", "value", "unit", "reference", "ratio"), flush=True)
    for figure in args.measure(args):
        figures.append(figure)
        reference, ratio = _number(figure.reference), "" if figure.ratio is None else f"{figure.ratio:.2f}"
        print(_line(figure.name, _number(figure.value), figure.unit, reference, ratio), flush=True)
        if args.json:
            write_json(args.json, [asdict(each) for each in figures])
    return 0


def _line(name: str, value: str, unit: str, reference: str, ratio: str) -> str:
    short = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
    return f"{short:<{NAME_WIDTH}} {value:>9} {unit:<11} {reference:>9} {ratio:>6}".rstrip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}" if value >= 10 else f"{value:.3g}"
