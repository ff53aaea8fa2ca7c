"""How often a benchmark measures: counts that are given, or as many as fit into a time (`--quick`)."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from wrnexp.cli.bench import Figure, compared

SECONDS = 1.0  # of each side of a comparison in quick mode, warm-up not counted
MOST_ROUNDS = 3  # pairs of a comparison in quick mode


class Side:
    """One side of a comparison: work that can be repeated.

    Args:
        rate: repeats the work a number of times and returns its speed in the unit of the figure.
    """

    def __init__(self, rate: Callable[[int], float]) -> None:
        self.rate = rate

    @cached_property
    def seconds(self) -> float:
        """Seconds of one repetition, after another one that warms up: allocators, tables, cuDNN's choices."""
        self.rate(1)
        start = time.perf_counter()
        self.rate(1)
        return time.perf_counter() - start


def timed(work: Callable[[int], object], amount: float, synchronize: Callable[[], object] = lambda: None) -> Side:
    """Return the side whose speed is `amount` per repetition over the time that it takes.

    Args:
        work: does the work a number of times.
        amount: what one repetition comes to, for instance its images.
        synchronize: waits until the device has done its work; called before the clock starts and before it stops.
    """

    def rate(repeats: int) -> float:
        synchronize()
        start = time.perf_counter()
        work(repeats)
        synchronize()
        return amount * repeats / (time.perf_counter() - start)

    return Side(rate)


@dataclass(frozen=True)
class Effort:
    """How often a comparison is measured; what is None is chosen so that each side takes about `seconds`.

    A side that takes longer than that once is measured once.

    Attributes:
        rounds: pairs of measurements.
        ours: repetitions in a measurement of our side.
        theirs: repetitions in a measurement of the reference.
        seconds: of each side, all rounds together.
    """

    rounds: int | None
    ours: int | None
    theirs: int | None
    seconds: float = SECONDS

    def compare(self, name: str, unit: str, ours: Side, theirs: Side) -> Figure:
        """Warm both sides up, measure them in turn, and return the figure."""
        fitting = [max(1, int(self.seconds / side.seconds)) for side in (ours, theirs)]
        given = (self.ours, self.theirs)
        pairs = min(fits // (repeats or 1) for fits, repeats in zip(fitting, given, strict=True))
        rounds = self.rounds or max(1, min(MOST_ROUNDS, pairs))
        mine, other = (repeats or max(1, fits // rounds) for fits, repeats in zip(fitting, given, strict=True))
        return compared(name, unit, partial(ours.rate, mine), partial(theirs.rate, other), rounds)


def add_quick(parser: argparse.ArgumentParser) -> None:
    """Add the option `--quick`."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as many measurements as fit into a few seconds; a count that is given wins",
    )


def count(given: int | None, default: int, args: argparse.Namespace) -> int | None:
    """Return a count for `Effort`: the one that is given, else the default, else None in quick mode."""
    return given or (None if args.quick else default)
