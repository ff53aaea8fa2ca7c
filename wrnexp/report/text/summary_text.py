"""A report in a few plain sentences."""

from wrnexp.report.claims import ELSEWHERE, Claim
from wrnexp.report.format import listed, p_value, percent, points, several
from wrnexp.report.tables import PairRow, Report
from wrnexp.stats import Interval

PAIRS_IN_FULL = 3


def sentences(report: Report) -> list[str]:
    """Say what was run, what the pairs show and, where there are claims, what became of them."""
    return [overview(report), *results(report.pairs), *claims_sentence(report.claims)]


def question(report: Report) -> str:
    """Return the question that the runs are an answer to, as their arms show it."""
    if report.ablations:
        names = listed([study.sweep for study in report.ablations])
        return f"What is each change from one recipe to the other worth in test accuracy ({names})?"
    if report.crossed:
        first, second = report.crossed.keys
        return f"What do {first} and {second} do to test accuracy, and does what one does depend on the other?"
    if not report.pairs:
        return f"How accurate is {report.rows[0].label} on the test set?"
    if len(report.pairs) == 1:
        return f"Is {report.pairs[0].b} as accurate as {report.pairs[0].a} on the test set?"
    return f"Which of {len(report.pairs)} arms are better or worse than {report.pairs[0].a} on the test set?"


def results(pairs: list[PairRow], in_full: int = PAIRS_IN_FULL) -> list[str]:
    """Say what the pairs show: a sentence each, or one on all of more than `in_full` pairs."""
    return [pair_sentence(pair) for pair in pairs] if len(pairs) <= in_full else [_tally(pairs)]


def pair_sentence(pair: PairRow) -> str:
    """Say how arm b compares with arm a on test accuracy."""
    test = pair.paired
    if test.difference is None:
        return f"{pair.b} against {pair.a} is unresolved: they have no seed in common."
    if pair.verdict == "unresolved":
        return f"{pair.b} against {pair.a} is unresolved: {_direction(test.difference)}, {_doubt(pair)}{_alike(pair)}."
    size = f"{100 * abs(test.difference):.2f} points {pair.verdict}"
    interval = _interval(test.ci95, test.difference)
    return f"{pair.b} is {size} than {pair.a}, {interval}, {several(test.n, 'seed')}{_alike(pair)}."


def _alike(pair: PairRow) -> str:
    """Say that two arms are equivalent, where that was found."""
    found = pair.equivalence
    if not found.equivalent:
        return ""
    return f"; within {100 * found.margin:g} point either way (equivalence, p {p_value(found.p)})"


def _direction(difference: float) -> str:
    if round(100 * difference, 2) == 0:
        return "0.00 points"
    return f"{100 * abs(difference):.2f} points {'better' if difference > 0 else 'worse'} on average"


def _doubt(pair: PairRow) -> str:
    """Say why a difference is not resolved and what would resolve it."""
    test = pair.paired
    if test.n == 1:
        return "from 1 seed, which gives no interval"
    if test.ci95 is None:
        return f"the same in all {test.n} seeds, which gives no interval: check that the seeds change the training"
    low, high = test.ci95
    interval = f"95% interval of the difference {points(low)} to {points(high)}, {several(test.n, 'seed')}"
    return interval + ("" if pair.seeds_needed is None else f"; needs about {pair.seeds_needed:,} seeds an arm")


def _interval(interval: Interval | None, difference: float) -> str:
    """Give the interval in the direction of the difference, as sizes: `0.80 to 1.60` where b is worse by as much."""
    low, high = interval or (difference, difference)
    low, high = (low, high) if difference > 0 else (-high, -low)
    return f"95% interval {100 * low:.2f} to {100 * high:.2f}"


def overview(report: Report) -> str:
    """Say what was run, on which data, and the mean accuracies."""
    runs = sum(row.accuracy.n for row in report.rows)
    where = {run.record.data.name for arm in report.arms for run in arm.runs if run.record.data}
    counted = (
        f"{several(len(report.rows), 'arm')} with {several(runs, 'run')} on {listed(sorted(where)) or 'unknown data'}"
    )
    if len(report.rows) > PAIRS_IN_FULL + 1:
        best = max(report.rows, key=lambda row: row.accuracy.mean)
        return f"{counted}; the highest mean test accuracy is {percent(best.accuracy.mean)}% ({best.label})."
    means = [f"{row.label} {percent(row.accuracy.mean)}%" for row in report.rows]
    return f"{counted}; mean test accuracy: {listed(means)}."


def _tally(pairs: list[PairRow]) -> str:
    """Count the verdicts of many pairs, naming the arms that are resolved."""
    better, worse, open_ = (
        [pair.b for pair in pairs if pair.verdict == kind] for kind in ("better", "worse", "unresolved")
    )
    found = [_named(better, "better"), _named(worse, "worse"), f"{len(open_)} unresolved"]
    return f"Of {len(pairs)} arms against {pairs[0].a}: {'; '.join(found)} (corrected for {len(pairs)} comparisons)."


def _named(labels: list[str], kind: str) -> str:
    return f"{len(labels)} {kind}" + (f" ({', '.join(labels)})" if labels else "")


def claims_sentence(claims: list[Claim]) -> list[str]:
    """Count the verdicts on the claims; nothing where there are none."""
    if not claims:
        return []
    verdicts = [claim.verdict for claim in claims]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(sorted(verdicts))]
    where = f", on what is {ELSEWHERE}" if any(claim.scope.startswith(ELSEWHERE) for claim in claims) else ""
    return [f"Of {several(len(claims), 'claim')}: {listed(counts)}{where}."]
