"""The sections on what the trained networks answer: calibration, classes, images."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wrnexp.report.format import count, decimals, listed, p_value, points, several, span
from wrnexp.report.images import CAUTION, GroupChange, ImagePair, group_changes
from wrnexp.report.page.chart import ArmMark
from wrnexp.report.page.classes import Classes, classes, thumbnails
from wrnexp.report.page.parts import Part, Pictures, Table, table
from wrnexp.report.page.predictions import groups_chart, reliability_chart
from wrnexp.report.predictions import NO_VALIDATION, Predictions
from wrnexp.report.tables import Report
from wrnexp.stats import ALPHA, PerImage

NOTHING = "No run's answers could be read, so there is nothing to show here."
CALIBRATION_COLUMNS = ("arm", "seeds", "NLL", "ECE", "temperature", "NLL after", "ECE after")
IMAGE_COLUMNS = (
    "arm",
    "seed",
    "both right",
    "only the baseline",
    "only this arm",
    "neither",
    "difference, points",
    "95% interval",
    "McNemar p",
)
MOST_ARMS = 20
MOST_LISTED = 60
MOST_PICTURES = 16
PAIRS_WITH_PICTURES = 3


def calibration(report: Report, marks: Sequence[ArmMark]) -> list[Part]:
    """Return the section on calibration."""
    read = _read(report)
    chart = reliability_chart(read, marks) if read else None
    if read is None or chart is None:
        return [NOTHING, *(report.answers.scope if report.answers else [])]
    rows = [
        [
            row.label,
            str(len(row.seeds)),
            *(decimals(value, 4) for value in (row.nll, row.ece, row.temperature, row.nll_after, row.ece_after)),
        ]
        for row in report.calibration
    ]
    shown = table("Calibration on the test set, means over the seeds read", CALIBRATION_COLUMNS, rows, numbers=True)
    without = [row.label for row in report.calibration if row.temperature is None]
    after = [f"After temperature scaling there is nothing for {_some(without)}: {NO_VALIDATION}."] if without else []
    fitted = "Temperatures are fitted to the validation images of each run, by its negative log-likelihood."
    return [*read.scope, shown, *after, *([fitted] if len(without) < len(rows) else []), chart]


def class_changes(report: Report, marks: Sequence[ArmMark]) -> list[Part]:
    """Return the section on classes and superclasses."""
    read = _read(report)
    names = {mark.label: mark.short for mark in marks}
    pairs = {names[pair.b]: read.common(pair.b) for pair in report.image_pairs[:MOST_ARMS]} if read else {}
    if read is None or not pairs:
        return []
    known = _classes(report, read)
    own = np.arange(read.classes)
    parts: list[Part] = _cut(report)
    if known.superclasses:
        changes = {label: group_changes(common, known.groups) for label, common in pairs.items()}
        parts += _groups("superclasses", "Superclasses", changes, known.superclasses, read.baseline)
    changes = {label: group_changes(common, own) for label, common in pairs.items()}
    return parts + _groups("class-changes", "Classes", changes, known.names, read.baseline)


def image_changes(report: Report) -> list[Part]:
    """Return the section on single images."""
    read = _read(report)
    if read is None or not report.image_pairs:
        return []
    known = _classes(report, read)
    baseline = report.image_pairs[0].a
    rows = [
        [pair.b, str(seed), *_test_cells(test)]
        for pair in report.image_pairs
        for seed, test in zip(pair.seeds, pair.found, strict=True)
    ]
    tests = table(f"Test images that each arm and {baseline} get right, by seed", IMAGE_COLUMNS, rows, numbers=True)
    parts: list[Part] = [CAUTION + " p-values are not corrected for their number.", tests, *_cut(report)]
    for number, pair in enumerate(report.image_pairs[:MOST_ARMS]):
        parts.append(_listing(pair, read, known) if len(pair.only_a) + len(pair.only_b) else _no_image(pair))
        if number < PAIRS_WITH_PICTURES:
            parts += _pictures(pair, read, known)
    return parts


def _read(report: Report) -> Predictions | None:
    return report.answers if report.answers and report.answers.arms else None


def _classes(report: Report, read: Predictions) -> Classes:
    return classes(report.arms[0].runs[0].record.data, read.classes)


def _cut(report: Report) -> list[Part]:
    left = len(report.image_pairs) - MOST_ARMS
    return [f"Of {several(len(report.image_pairs), 'arm')} the first {MOST_ARMS} are shown."] if left > 0 else []


def _groups(
    name: str, title: str, changes: Mapping[str, Sequence[GroupChange]], names: Sequence[str], baseline: str
) -> list[Part]:
    """Return the chart and a sentence on what is told from chance."""
    told = [
        f"{names[change.group]} in {label} ({points(change.paired.difference)})"
        for label, found in changes.items()
        for change in found
        if change.p_holm is not None and change.p_holm < ALPHA
    ]
    which = listed(told) if told else "none"
    said = f"Told from chance over the seeds, corrected for the number of {title.lower()}: {which}."
    return [groups_chart(name, title, changes, names, baseline), said]


def _test_cells(test: PerImage) -> list[str]:
    counts = [count(number) for number in (test.both, test.only_a, test.only_b, test.neither)]
    return [*counts, points(test.difference), span(test.ci95, points), p_value(test.p)]


def _listing(pair: ImagePair, read: Predictions, known: Classes) -> Table:
    """Return the images that one side gets right and the other wrong in every seed, with what they are taken for."""
    rows = [
        [str(at), known.names[read.arms[pair.a][0].labels[at]], who, _taken_for(pair, wrong, int(at), read, known)]
        for who, wrong, images in ((pair.a, pair.b, pair.only_a), (pair.b, pair.a, pair.only_b))
        for at in images[:MOST_LISTED]
    ]
    seeds = several(len(pair.seeds), "seed")
    caption = (
        f"{pair.b}: {count(len(pair.only_a))} images that only {pair.a} gets right and {count(len(pair.only_b))} that "
        f"only {pair.b} does, in {'all ' if len(pair.seeds) > 1 else ''}{seeds}"
    )
    if max(len(pair.only_a), len(pair.only_b)) > MOST_LISTED:
        caption += f" (the first {MOST_LISTED} of each; report.json has all)"
    return table(caption, ["image", "class", "right in", "taken for by the other"], rows, folded=True)


def _no_image(pair: ImagePair) -> str:
    return f"{pair.b}: no image is right in one of the two and wrong in the other in every seed."


def _taken_for(pair: ImagePair, label: str, at: int, read: Predictions, known: Classes) -> str:
    found = [int(answers.predicted[at]) for answers in read.arms[label] if answers.seed in pair.seeds]
    return ", ".join(known.names[answer] for answer in dict.fromkeys(found))


def _pictures(pair: ImagePair, read: Predictions, known: Classes) -> list[Part]:
    """Return small pictures of the first such images, where the cache holds them."""
    if known.stored is None:
        return []
    labels = read.arms[pair.a][0].labels
    sides: list[tuple[str, str, NDArray[np.int64]]] = [(pair.a, pair.b, pair.only_a), (pair.b, pair.a, pair.only_b)]
    found: list[Part] = []
    for right, wrong, images in sides:
        chosen = [int(at) for at in _spread(images)]
        addresses = thumbnails(known.stored, chosen, labels)
        told = [
            f"image {at}: {known.names[labels[at]]}, taken for {_taken_for(pair, wrong, at, read, known)}"
            for at in chosen
        ]
        if addresses:
            caption = f"Right in {right}, wrong in {wrong}, in every seed"
            found.append(Pictures(caption, list(zip(addresses, told, strict=True))))
    return found


def _spread(images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `MOST_PICTURES` of the images, evenly spread, since they are sorted by class."""
    if len(images) <= MOST_PICTURES:
        return images
    return images[np.linspace(0, len(images) - 1, MOST_PICTURES).astype(np.int64)]


def _some(labels: Sequence[str], most: int = 5) -> str:
    return listed([*labels[:most], f"{len(labels) - most} more"]) if len(labels) > most else listed([*labels])
