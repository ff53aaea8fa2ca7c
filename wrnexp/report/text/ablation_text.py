"""What an ablation shows, in sentences, and what it cannot show."""

from wrnexp.report.ablation import Ablation, ChangeEffect, Worth
from wrnexp.report.ablation_tables import resolved, tests
from wrnexp.report.format import listed, p_value, points, several, span
from wrnexp.stats import Interval, Paired


def findings(study: Ablation) -> list[str]:
    """Say what the figures show, and what they cannot."""
    return [
        *_total(study),
        *_resolved(study),
        *_interactions(study),
        *_sum(study),
        *_doubts(study),
    ]


def _total(study: Ablation) -> list[str]:
    if study.total is None or study.total.paired.difference is None:
        return []
    test = study.total.paired
    told = "" if resolved(study.total) or test.ci95 is None else ", not told from chance"
    return [
        f"All {several(len(study.changes), 'change')} together, {study.b} against {study.a}: "
        f"{points(test.difference)} points ({_evidence(test)}{told})."
    ]


def _resolved(study: Ablation) -> list[str]:
    """Name the changes that the second recipe is better for, and those that it would be better without."""
    found = [one for one in study.changes if resolved(one.leave_one_out)]
    gains = [_worth(one) for one in found if _difference(one.leave_one_out) > 0]
    losses = [_worth(one) for one in found if _difference(one.leave_one_out) < 0]
    said = []
    if gains:
        said.append(f"{study.b} owes accuracy to {listed(gains)}.")
    if losses:
        said.append(f"{study.b} would be better without {listed(losses[::-1])}.")
    judged = [one for one in study.changes if one.leave_one_out and one.leave_one_out.paired.ci95]
    if judged and not found:
        said.append(f"No change is told from chance in {study.b}, corrected for {several(study.tests, 'test')}.")
    return said


def _worth(one: Worth) -> str:
    test = one.leave_one_out.paired if one.leave_one_out else None
    return f"{one.change} ({points(test.difference)}, {span(test.ci95, points)})" if test else one.change


def _interactions(study: Ablation) -> list[str]:
    """Say of each change that is worth something else among the others than alone, beyond the interval."""
    return [
        f"{one.change} is worth {points(_difference(one.add_one))} added to {study.a} and "
        f"{points(_difference(one.leave_one_out))} in {study.b}: it seems to depend on the other changes (difference "
        f"{points(one.interaction.difference)}, {_evidence(one.interaction)}, p by Holm "
        f"{p_value(one.interaction_p_holm)})."
        for one in study.changes
        if one.interaction and one.interaction.ci95 and not _contains_zero(one.interaction.ci95)
    ]


def _sum(study: Ablation) -> list[str]:
    """Compare the sum of the changes made one by one with all of them together."""
    parts = [one.add_one.paired.difference for one in study.changes if one.add_one]
    known = [part for part in parts if part is not None]
    if study.total is None or len(known) < max(2, len(study.changes)):
        return []
    return [
        f"Added to {study.a} one by one the changes come to {points(sum(known))} points, together they are worth "
        f"{points(study.total.paired.difference)}."
    ]


def _doubts(study: Ablation) -> list[str]:
    """Say what makes the figures weak: few seeds, arms that are missing."""
    seeds = [effect.paired.n for _, effect in tests(study)]
    said = []
    if seeds and max(seeds) < 2:
        said.append("One seed an arm: the differences have no intervals, and none can be told from chance.")
    elif seeds and min(seeds) < 3:
        few = sum(n < 3 for n in seeds)
        said.append(
            f"{few} of {several(len(seeds), 'difference')} rest on fewer than 3 common seeds: their intervals are very "
            "wide, or there are none."
        )
    if study.missing:
        missing = [*study.missing[:3], *([f"{len(study.missing) - 3} more"] if len(study.missing) > 3 else [])]
        said.append(f"Without a completed run, so without figures: {listed(missing)}.")
    return said


def _evidence(test: Paired) -> str:
    interval = f"95% interval {span(test.ci95, points)}" if test.ci95 else "no interval"
    return f"{interval}, {several(test.n, 'seed')}"


def _contains_zero(interval: Interval) -> bool:
    return interval[0] <= 0 <= interval[1]


def _difference(effect: ChangeEffect | None) -> float:
    return effect.paired.difference or 0.0 if effect else 0.0
