"""What is claimed of the light recipe against the base recipe, held against the records.

Each claim is one measure, its mean over the common seeds with a 95% t-interval, and a range that it must lie in. The
whole interval inside the range supports the claim, the whole interval outside refutes it, anything else is
underpowered; that accuracies are comparable is supported by a test of equivalence. Costs and times are compared as
ratios light / base (t-interval of the logarithms), accuracies as differences light - base.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from wrnexp.report.arms import Arm
from wrnexp.report.measures import Run, cost, epoch_seconds, late_oscillation, step_images
from wrnexp.report.wording import count, listed
from wrnexp.stats import COMPARABLE, Interval, Paired, equivalence, paired

ROLES = (("base", "light"), ("demo_base", "demo_light"))
ELSEWHERE = "not the setting of the claims (CIFAR-100 in full on a GPU)"
CIFAR100_SIZES = (50_000, 10_000)

Unit = Literal["ratio", "accuracy"]
ClaimVerdict = Literal["supported", "refuted", "underpowered", "not measured"]


@dataclass(frozen=True)
class Claim:
    """One claim and its verdict.

    Attributes:
        claim: the sentence held against the records.
        measured: the mean ratio or difference, None where there is none.
        threshold: the edge of the range; the claim of comparable accuracy allows as much on either side of 0.
        criterion: the range in words.
        verdict: what the interval says.
        ci95: the 95% interval of `measured`.
        n: common seeds that have the measure.
        unit: `ratio` of light to base, or a difference of `accuracy` in 0..1.
        scope: data, epochs and device of the runs, marked where that is not CIFAR-100 in full on a GPU.
        note: why nothing was measured, or what else the reader must know; may be empty.
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


def roles(arms: Sequence[Arm]) -> tuple[Arm, Arm] | None:
    """Return the arms labelled base and light (else demo_base and demo_light), None where there is no such pair."""
    labelled = {arm.label: arm for arm in arms}
    pairs = ((labelled[base], labelled[light]) for base, light in ROLES if base in labelled and light in labelled)
    return next(pairs, None)


def claims(base: Arm, light: Arm) -> list[Claim]:
    """Hold each claim against the records of the two arms."""
    found = [
        _memory(base, light),
        _speed(base, light),
        _reaches(base, light),
        _comparable(base, light),
        _epoch(base, light),
        _oscillation(base, light),
    ]
    note = "" if set(base.seeds) & set(light.seeds) else "the arms have no seed in common"
    return [replace(claim, scope=_scope(base, light), note=note or claim.note) for claim in found]


def judge(interval: Interval | None, low: float, high: float) -> ClaimVerdict:
    """Return `supported` for an interval inside (low, high), `refuted` for one outside, else `underpowered`."""
    if interval is None:
        return "underpowered"
    if low < interval[0] and interval[1] < high:
        return "supported"
    return "refuted" if interval[1] <= low or interval[0] >= high else "underpowered"


def _memory(base: Arm, light: Arm) -> Claim:
    text = f"{light.label} needs about 25% less peak memory than {base.label}"
    claim = Claim(text, None, 0.8, "more than 20% less: a ratio below 0.8", "not measured")
    judged = _cost_ratio(claim, base, light, partial(cost, name="peak_memory_bytes"), 0.0, 0.8)
    whole = "on a CPU this is the memory of the whole process, its libraries and data included"
    return replace(judged, note=whole) if judged.n and any(run.on_cpu for run in base.runs) else judged


def _speed(base: Arm, light: Arm) -> Claim:
    text = f"{light.label} has faster iterations: it trains more images a second than {base.label}"
    sizes = [arm.mean(step_images) for arm in (base, light)]
    claim = Claim(text, None, 1.0, "a ratio above 1", "not measured")
    judged = _cost_ratio(claim, base, light, partial(cost, name="images_per_second"), 1.0, math.inf)
    steps = f"a step is {count(sizes[0])} images in {base.label} and {count(sizes[1])} in {light.label}"
    different = None not in sizes and sizes[0] != sizes[1]
    return replace(judged, note=judged.note or steps) if different else judged


def _epoch(base: Arm, light: Arm) -> Claim:
    text = f"{light.label} takes less training time an epoch than {base.label}"
    claim = Claim(text, None, 1.0, "a ratio below 1", "not measured")
    return _cost_ratio(claim, base, light, epoch_seconds, 0.0, 1.0)


def _comparable(base: Arm, light: Arm) -> Claim:
    text = f"{light.label} has a final test accuracy comparable to that of {base.label}"
    what = "a difference within 1 point either way (equivalence: two one-sided tests at 5%)"
    claim = Claim(text, None, COMPARABLE, what, "not measured", unit="accuracy")
    judged = _judged(claim, _compare(base, light, _accuracy), -COMPARABLE, COMPARABLE)
    alike = equivalence(base.by_seed(_accuracy), light.by_seed(_accuracy)).equivalent
    return replace(judged, verdict="supported") if alike else judged


def _oscillation(base: Arm, light: Arm) -> Claim:
    text = f"{light.label} oscillates less late in training than {base.label}"
    what = "SD of the epoch-to-epoch changes of test accuracy, last quarter: a difference below 0"
    claim = Claim(text, None, 0.0, what, "not measured", unit="accuracy")
    judged = _judged(claim, _compare(base, light, late_oscillation), -math.inf, 0.0)
    missing = "needs a test of every epoch in the last quarter and at least 9 epochs"
    return judged if judged.n else replace(judged, note=missing)


def _reaches(base: Arm, light: Arm) -> Claim:
    """Compare times to 70%; an arm that never gets there in any seed is later than one that does in every seed."""
    text = f"{light.label} reaches 70% test accuracy in less training time than {base.label}"
    claim = Claim(text, None, 1.0, "a ratio of seconds below 1", "not measured")
    seeds = set(base.seeds) & set(light.seeds)
    if any(run.record.test_looks <= 1 for arm in (base, light) for run in arm.runs):
        return replace(claim, note="the test set was read only at the end")
    if problem := _devices_problem(base, light):
        return replace(claim, note=problem)
    times = [arm.by_seed(_seconds_to_70).keys() for arm in (base, light)]
    reached = [len(seeds & found) for found in times]
    if reached == [len(seeds), len(seeds)]:
        return _ratio(claim, base, light, _seconds_to_70, 0.0, 1.0)
    note = (
        f"reached by {reached[0]} of {len(seeds)} seeds of {base.label} and "
        f"by {reached[1]} of {len(seeds)} of {light.label}"
    )
    return replace(claim, n=len(seeds), note=note, verdict=_never(reached, len(seeds)))


def _never(reached: list[int], seeds: int) -> ClaimVerdict:
    """Judge the claim where not every seed of (base, light) reached the accuracy."""
    if reached == [0, 0]:
        return "not measured"
    if seeds >= 2 and reached in ([0, seeds], [seeds, 0]):
        return "supported" if reached[1] else "refuted"
    return "underpowered"


def _seconds_to_70(run: Run) -> float | None:
    return run.record.time_to.get("0.70")


def _cost_ratio(
    claim: Claim, base: Arm, light: Arm, read: Callable[[Run], float | None], low: float, high: float
) -> Claim:
    """Judge a ratio of costs, which compare on one device only."""
    if problem := _devices_problem(base, light):
        return replace(claim, note=problem)
    judged = _ratio(claim, base, light, read, low, high)
    return judged if judged.n else replace(judged, note="not recorded in any common seed")


def _devices_problem(base: Arm, light: Arm) -> str:
    devices = sorted({run.device for arm in (base, light) for run in arm.runs})
    return "" if len(devices) == 1 else f"the runs were made on different devices ({listed(devices)})"


def _ratio(claim: Claim, base: Arm, light: Arm, read: Callable[[Run], float | None], low: float, high: float) -> Claim:
    """Judge the ratio light / base of a positive measure by its logarithm."""
    test = _compare(base, light, partial(_log, read=read))
    # A cost that is the same in every seed, such as memory, is exact: its interval is the number itself.
    if test.sd == 0.0 and test.difference is not None:
        test = replace(test, ci95=(test.difference, test.difference))
    limits = [math.log(limit) if limit > 0 else -math.inf for limit in (low, high)]
    judged = _judged(claim, test, limits[0], limits[1])
    if judged.measured is None:
        return judged
    ratios = judged.ci95 and (math.exp(judged.ci95[0]), math.exp(judged.ci95[1]))
    return replace(judged, measured=math.exp(judged.measured), ci95=ratios)


def _judged(claim: Claim, test: Paired, low: float, high: float) -> Claim:
    if test.n == 0:
        return claim
    return replace(claim, measured=test.difference, ci95=test.ci95, n=test.n, verdict=judge(test.ci95, low, high))


def _compare(base: Arm, light: Arm, read: Callable[[Run], float | None]) -> Paired:
    return paired(base.by_seed(read), light.by_seed(read))


def _accuracy(run: Run) -> float:
    return run.accuracy


def _log(run: Run, read: Callable[[Run], float | None]) -> float | None:
    value = read(run)
    return math.log(value) if value and value > 0 else None


def _scope(base: Arm, light: Arm) -> str:
    """Say on what the claims were measured, with a mark where that is not CIFAR-100 in full on a GPU."""
    runs = [run for arm in (base, light) for run in arm.runs]
    parts = [_data(runs), _epochs(base, light), listed(sorted({run.device for run in runs}))]
    text = ", ".join(part for part in parts if part)
    full = all(_is_full_cifar100(run) for run in runs) and not any(run.on_cpu for run in runs)
    return text if full else f"{ELSEWHERE}: {text}"


def _data(runs: Sequence[Run]) -> str:
    found = [run.record.data for run in runs if run.record.data is not None]
    if not found:
        return "unknown data"
    sizes = sorted({data.train for data in found})
    return f"{found[0].name} ({listed([count(size) for size in sizes])} training images)"


def _epochs(base: Arm, light: Arm) -> str:
    lengths = [arm.config.get("optim.epochs") for arm in (base, light)]
    return "" if None in lengths else f"{lengths[0]} and {lengths[1]} epochs"


def _is_full_cifar100(run: Run) -> bool:
    data = run.record.data
    return data is not None and (data.name, data.train, data.test) == ("cifar100", *CIFAR100_SIZES)
