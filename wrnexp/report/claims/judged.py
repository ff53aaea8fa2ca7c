"""Claims held against the records.

A claim is one measure, its mean over the seeds with a 95% t-interval, and a range that it must lie in. The whole
interval inside the range supports the claim, the whole interval outside refutes it, anything else is underpowered; that
two arms are comparable is supported by a test of equivalence. Costs and times are compared as ratios b / a (t-interval
of the logarithms), accuracies as differences b - a, both over common seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wrnexp.report.arms import Arm
from wrnexp.report.claims.ledger import Entry, Ledger
from wrnexp.report.claims.measured import MEASURES, Measure, remark
from wrnexp.report.claims.scope import devices_problem, scope, times_problem
from wrnexp.stats import Interval, equivalence, paired, paired_ratio, summary

Unit = Literal["ratio", "accuracy", "level"]
ClaimVerdict = Literal["supported", "refuted", "underpowered", "not measured"]


@dataclass(frozen=True)
class Claim:
    """One claim and its verdict.

    Attributes:
        claim: the sentence held against the records.
        measured: the mean ratio, difference or level, None where there is none.
        threshold: the edge of the range; claims of comparable accuracy allow as much on either side.
        criterion: the range in words.
        verdict: what the interval says.
        ci95: the 95% interval of `measured`.
        n: seeds that have the measure, in both arms where there are two.
        unit: a `ratio` of b to a, a difference of `accuracy` in 0..1, or the `level` of one arm.
        scope: data, epochs and device of the runs, marked where that is not the setting of the claims.
        note: why nothing was measured, or what else the reader must know; may be empty.
        source: the ledger that it is from.
    """

    claim: str
    measured: float | None
    threshold: float
    criterion: str
    verdict: ClaimVerdict
    ci95: Interval | None = None
    n: int = 0
    unit: Unit = "ratio"
    scope: str = ""
    note: str = ""
    source: str = ""


def held(ledger: Ledger, entry: Entry, a: Arm | None, b: Arm | None) -> Claim:
    """Hold an entry against its arms; None for one that the records do not have."""
    named = {"a": _label(a, ledger.labels(entry)[0]), "b": _label(b, ledger.labels(entry)[1])}
    units: dict[str, Unit] = {"ratio": "ratio", "time": "ratio", "level": "level"}
    claim = Claim(
        entry.claim.format(**named),
        None,
        entry.threshold,
        entry.criterion,
        "not measured",
        unit=units.get(entry.compare, "accuracy"),
        source=ledger.source,
    )
    if b is None or (a is None and entry.compare != "level"):
        return replace(claim, note="there are no runs of " + (named["b"] if b is None else named["a"]))
    arms = [b] if entry.compare == "level" or a is None else [a, b]
    claim = replace(claim, scope=scope(arms, ledger.setting))
    return _level(claim, entry, b) if entry.compare == "level" or a is None else _pair(claim, entry, a, b)


def judge(interval: Interval | None, low: float, high: float) -> ClaimVerdict:
    """Return `supported` for an interval inside (low, high), `refuted` for one outside, else `underpowered`."""
    if interval is None:
        return "underpowered"
    if low < interval[0] and interval[1] < high:
        return "supported"
    return "refuted" if interval[1] <= low or interval[0] >= high else "underpowered"


def _label(arm: Arm | None, labels: Sequence[str]) -> str:
    return arm.label if arm else " or ".join(labels)


def _pair(claim: Claim, entry: Entry, a: Arm, b: Arm) -> Claim:
    measure = MEASURES[entry.measure]
    if not set(a.seeds) & set(b.seeds):
        return replace(claim, note="the arms have no seed in common")
    if measure.machine and (problem := devices_problem([a, b])):
        return replace(claim, note=problem)
    if measure.times and (problem := times_problem([a, b])):
        return replace(claim, note=problem)
    if entry.compare == "time":
        return _time(claim, entry, a, b)
    found = (_ratio if entry.compare == "ratio" else _difference)(claim, entry, measure, a, b)
    return replace(found, note=remark(entry.measure, a, b) if found.n else measure.missing)


def _ratio(claim: Claim, entry: Entry, measure: Measure, a: Arm, b: Arm) -> Claim:
    test = paired_ratio(a.by_seed(measure.read), b.by_seed(measure.read))
    if test is None:
        return claim
    low, high = _range(entry)
    return replace(claim, measured=test.ratio, ci95=test.ci95, n=test.n, verdict=judge(test.ci95, low, high))


def _difference(claim: Claim, entry: Entry, measure: Measure, a: Arm, b: Arm) -> Claim:
    values = a.by_seed(measure.read), b.by_seed(measure.read)
    test = paired(*values)
    if test.n == 0:
        return claim
    verdict = judge(test.ci95, *_range(entry))
    if entry.compare == "equivalence" and equivalence(*values, entry.threshold).equivalent:
        verdict = "supported"
    return replace(claim, measured=test.difference, ci95=test.ci95, n=test.n, verdict=verdict)


def _level(claim: Claim, entry: Entry, arm: Arm) -> Claim:
    measure = MEASURES[entry.measure]
    values = arm.by_seed(measure.read)
    if not values:
        return replace(claim, note=measure.missing)
    found = summary([*values.values()])
    verdict = judge(found.ci95, *_range(entry))
    return replace(claim, measured=found.mean, ci95=found.ci95, n=found.n, verdict=verdict)


def _time(claim: Claim, entry: Entry, a: Arm, b: Arm) -> Claim:
    """Compare times until something is reached; an arm that never gets there is later than one that always does."""
    seeds = set(a.seeds) & set(b.seeds)
    if any(run.record.test_looks <= 1 for arm in (a, b) for run in arm.runs):
        return replace(claim, note="the test set was read only at the end")
    measure = MEASURES[entry.measure]
    reached = [len(seeds & arm.by_seed(measure.read).keys()) for arm in (a, b)]
    if reached == [len(seeds), len(seeds)]:
        return _ratio(claim, entry, measure, a, b)
    note = (
        f"reached by {reached[0]} of {len(seeds)} seeds of {a.label} and by {reached[1]} of {len(seeds)} of {b.label}"
    )
    return replace(claim, n=len(seeds), note=note, verdict=_never(reached, len(seeds)))


def _never(reached: list[int], seeds: int) -> ClaimVerdict:
    """Judge a claim of time where not every seed of (a, b) got there."""
    if reached == [0, 0]:
        return "not measured"
    if seeds >= 2 and reached in ([0, seeds], [seeds, 0]):
        return "supported" if reached[1] else "refuted"
    return "underpowered"


def _range(entry: Entry) -> Interval:
    if entry.within is not None:
        middle = entry.of or 0.0
        return middle - entry.within, middle + entry.within
    low = -math.inf if entry.above is None else entry.above
    return low, math.inf if entry.below is None else entry.below
