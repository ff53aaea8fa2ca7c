"""An ablation's figures in cells, for every page that shows them, and as report.json has them."""

from typing import Any

from wrnexp.config.differences import ABSENT, format_value
from wrnexp.report.ablation import Ablation, ChangeEffect, Worth
from wrnexp.report.format import NONE, PAIRED_COLUMNS, paired_cells, points, several, span, times
from wrnexp.stats import ALPHA, Paired, Ratio

TEST_COLUMNS = (
    "change",
    "arm",
    "against",
    *PAIRED_COLUMNS,
    "training time",
    "peak memory",
)


def worth_columns(study: Ablation) -> list[str]:
    """Return the columns of `worth_cells`."""
    return ["change", "settings", f"in {study.b}", f"added to {study.a}", "its step of the ladder", "training time"]


def worth_cells(one: Worth) -> list[str]:
    """Return what one change is worth, in points with the 95% interval, and what it costs in the second recipe."""
    places = (one.leave_one_out, one.add_one, one.ladder)
    dear = one.leave_one_out or one.add_one
    return [one.change, settings(one), *map(_points, places), ratio(dear.seconds if dear else None)]


def brief_columns(study: Ablation) -> list[str]:
    """Return the columns of `brief_cells`."""
    return ["change", f"in {study.b}", f"added to {study.a}", "on the ladder", "time"]


def brief_cells(one: Worth) -> list[str]:
    """Return what one change is worth so that it fits into a terminal: a t-interval is as wide on either side."""
    dear = one.leave_one_out or one.add_one
    time = NONE if dear is None or dear.seconds is None else f"x{times(dear.seconds.ratio)}"
    return [one.change, *map(_brief, (one.leave_one_out, one.add_one, one.ladder)), time]


def brief_notes(study: Ablation) -> list[str]:
    """Say what the signs in `brief_cells` mean."""
    return ["\u00b1 is half the 95% interval; * is told from chance; time is that of training as a multiple."]


def notes(study: Ablation) -> list[str]:
    """Say how the figures of an ablation were made."""
    return [
        f"In {study.b}: {study.b} against itself without the change. Added to {study.a}: {study.a} with nothing but "
        "the change, against itself. The step of the ladder: all later arms keep the change. Differences are in points "
        "of test accuracy, paired by seed, with 95% t-intervals; an asterisk marks those with a p-value below "
        f"{ALPHA} after Holm's correction for {several(study.tests, 'test')} of this section. Training time and peak "
        "memory are multiples of those without the change, where both ran on one device with the same loading "
        "processes; arms run one after another, so what else the machine did meanwhile is in their times."
    ]


def test_cells(change: str, effect: ChangeEffect) -> list[str]:
    """Return one test as text, in the order of `TEST_COLUMNS`."""
    return [
        change,
        effect.having,
        effect.without,
        *paired_cells(effect.paired, effect.p_holm),
        ratio(effect.seconds),
        ratio(effect.memory),
    ]


def tests(study: Ablation) -> list[tuple[str, ChangeEffect]]:
    """Return every different test of an ablation with the changes that it is about."""
    found = [("all", study.total)] if study.total else []
    found += [(one.change, effect) for one in study.changes for effect in one.effects]
    found += [(" and ".join(step.changes), step.effect) for step in study.steps if step.effect]
    return list({(effect.having, effect.without): (change, effect) for change, effect in reversed(found)}.values())[
        ::-1
    ]


def settings(one: Worth, most: int = 4) -> str:
    """Return the settings of a change, from what to what: `0.3 to 0.25`, or with the keys where there are several.

    Args:
        one: the change.
        most: how many settings to spell out.
    """
    texts = [f"{format_value(found.a)} to {format_value(found.b)}" for found in one.settings]
    if len(texts) < 2:
        return "".join(texts)
    keys = [found.key.rsplit(".", 1)[-1] for found in one.settings]
    cut = [f"{key} {text}" for key, text in zip(keys, texts, strict=True)]
    return ", ".join(cut[:most]) + (f" and {len(cut) - most} more" if len(cut) > most else "")


def as_json(study: Ablation) -> dict[str, Any]:
    """Return one entry of `ablation` in report.json; accuracies and their differences are in 0..1."""
    return {
        "sweep": study.sweep,
        "a": study.a,
        "b": study.b,
        "tests": study.tests,
        "total": _effect_json(study.total),
        "changes": [
            {
                "change": one.change,
                "settings": [{"key": found.key, "a": _json(found.a), "b": _json(found.b)} for found in one.settings],
                "leave_one_out": _effect_json(one.leave_one_out),
                "add_one": _effect_json(one.add_one),
                "ladder": _effect_json(one.ladder),
                "interaction": one.interaction and _test_json(one.interaction) | {"p_holm": one.interaction_p_holm},
            }
            for one in study.changes
        ],
        "ladder": [{"changes": step.changes, "effect": _effect_json(step.effect)} for step in study.steps],
        "missing": study.missing,
    }


def resolved(effect: ChangeEffect | None) -> bool:
    """Say whether an effect is told from chance after the correction."""
    return effect is not None and effect.p_holm is not None and effect.p_holm < ALPHA


def ratio(found: Ratio | None) -> str:
    """Return a ratio as `0.52 times (0.50 to 0.54)`."""
    if found is None:
        return NONE
    sharp = found.ci95 is None or times(found.ci95[0]) == times(found.ci95[1])
    return f"{times(found.ratio)} times" + ("" if sharp else f" ({span(found.ci95, times)})")


def _points(effect: ChangeEffect | None) -> str:
    if effect is None or effect.paired.difference is None:
        return NONE
    interval = effect.paired.ci95
    mark = "*" if resolved(effect) else ""
    return points(effect.paired.difference) + mark + (f" ({span(interval, points)})" if interval else "")


def _brief(effect: ChangeEffect | None) -> str:
    if effect is None or effect.paired.difference is None:
        return NONE
    interval = effect.paired.ci95
    half = f" \u00b1{50 * (interval[1] - interval[0]):.2f}" if interval else ""
    return points(effect.paired.difference) + half + ("*" if resolved(effect) else "")


def _json(value: Any) -> Any:
    return None if value is ABSENT else value


def _test_json(test: Paired) -> dict[str, Any]:
    return {"n": test.n, "difference": test.difference, "ci95": test.ci95, "p": test.p}


def _effect_json(effect: ChangeEffect | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    costs = {"train_seconds_ratio": effect.seconds, "peak_memory_ratio": effect.memory}
    return {
        "without": effect.without,
        "having": effect.having,
        **_test_json(effect.paired),
        "p_holm": effect.p_holm,
        **{name: _ratio_json(found) for name, found in costs.items()},
    }


def _ratio_json(found: Ratio | None) -> dict[str, Any] | None:
    return None if found is None else {"ratio": found.ratio, "ci95": found.ci95, "n": found.n}
