"""The sections on the networks' predictions: calibration, classes, images."""

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

NOTHING = "No run's predictions could be read, so there is nothing to show here."
CALIBRATION_COLUMNS = ("arm", "seeds", "NLL", "ECE", "temperature", "NLL after", "ECE after")
IMAGE_COLUMNS = (
    "arm",
    "seed",
    "both correct",
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
    parts: list[Part] = [
        *read.scope,
        table("Calibration on the test set, means over the seeds read", CALIBRATION_COLUMNS, rows, numbers=True),
    ]
    unscaled = [row.label for row in report.calibration if row.temperature is None]
    if unscaled:
        parts.append(f"Temperature scaling skipped for {_list_some(unscaled)}: {NO_VALIDATION}.")
    if len(unscaled) < len(rows):
        parts.append("Temperatures minimize the negative log-likelihood on the validation images of each run.")
    return [*parts, chart]


def class_changes(report: Report, marks: Sequence[ArmMark]) -> list[Part]:
    """Return the section on classes and superclasses."""
    read = _read(report)
    names = {mark.label: mark.short for mark in marks}
    pairs = {names[pair.b]: read.common(pair.b) for pair in report.image_pairs[:MOST_ARMS]} if read else {}
    if read is None or not pairs:
        return []
    info = _classes(report, read)
    parts = _omitted_arms(report)
    if info.superclasses:
        changes = {label: group_changes(common, info.groups) for label, common in pairs.items()}
        parts += _groups("superclasses", "Superclasses", changes, info.superclasses, read.baseline)
    changes = {label: group_changes(common, np.arange(read.classes)) for label, common in pairs.items()}
    return parts + _groups("class-changes", "Classes", changes, info.names, read.baseline)


def image_changes(report: Report) -> list[Part]:
    """Return the section on single images."""
    read = _read(report)
    if read is None or not report.image_pairs:
        return []
    info = _classes(report, read)
    baseline = report.image_pairs[0].a
    rows = [
        [pair.b, str(seed), *_test_cells(test)]
        for pair in report.image_pairs
        for seed, test in zip(pair.seeds, pair.found, strict=True)
    ]
    caption = f"Test images classified correctly by each arm and by {baseline}, per seed"
    tests = table(caption, IMAGE_COLUMNS, rows, numbers=True)
    parts: list[Part] = [CAUTION + " p-values are not corrected for multiple testing.", tests, *_omitted_arms(report)]
    for number, pair in enumerate(report.image_pairs[:MOST_ARMS]):
        if len(pair.only_a) + len(pair.only_b):
            parts.append(_image_table(pair, read, info))
        else:
            parts.append(f"{pair.b}: no image is correct in one of the two and wrong in the other in every seed.")
        if number < PAIRS_WITH_PICTURES:
            parts += _pictures(pair, read, info)
    return parts


def _read(report: Report) -> Predictions | None:
    return report.answers if report.answers and report.answers.arms else None


def _classes(report: Report, read: Predictions) -> Classes:
    return classes(report.arms[0].runs[0].record.data, read.classes)


def _omitted_arms(report: Report) -> list[Part]:
    count_of_arms = len(report.image_pairs)
    return [f"The first {MOST_ARMS} of {several(count_of_arms, 'arm')} are shown."] if count_of_arms > MOST_ARMS else []


def _groups(
    name: str, title: str, changes: Mapping[str, Sequence[GroupChange]], names: Sequence[str], baseline: str
) -> list[Part]:
    """Return the chart and a sentence that lists the statistically significant changes."""
    significant = [
        f"{names[change.group]} in {label} ({points(change.paired.difference)})"
        for label, arm_changes in changes.items()
        for change in arm_changes
        if change.p_holm is not None and change.p_holm < ALPHA
    ]
    sentence = (
        f"Statistically significant over seeds, with Holm's correction for the number of {title.lower()}: "
        f"{listed(significant) if significant else 'none'}."
    )
    return [groups_chart(name, title, changes, names, baseline), sentence]


def _test_cells(test: PerImage) -> list[str]:
    counts = [count(number) for number in (test.both, test.only_a, test.only_b, test.neither)]
    return [*counts, points(test.difference), span(test.ci95, points), p_value(test.p)]


def _sides(pair: ImagePair) -> list[tuple[str, str, NDArray[np.int64]]]:
    """Return label of the correct arm, label of the incorrect arm, and image indices, for both directions."""
    return [(pair.a, pair.b, pair.only_a), (pair.b, pair.a, pair.only_b)]


def _image_table(pair: ImagePair, read: Predictions, info: Classes) -> Table:
    labels = read.arms[pair.a][0].labels
    rows = [
        [str(image), info.names[labels[image]], correct, _predicted_names(pair, incorrect, int(image), read, info)]
        for correct, incorrect, images in _sides(pair)
        for image in images[:MOST_LISTED]
    ]
    seeds = several(len(pair.seeds), "seed")
    caption = (
        f"{pair.b}: {count(len(pair.only_a))} images classified correctly only by {pair.a} and "
        f"{count(len(pair.only_b))} only by {pair.b}, in {'all ' if len(pair.seeds) > 1 else ''}{seeds}"
    )
    if max(len(pair.only_a), len(pair.only_b)) > MOST_LISTED:
        caption += f" (the first {MOST_LISTED} of each; report.json has all)"
    return table(caption, ["image", "class", "correct in", "predicted by the other"], rows, folded=True)


def _predicted_names(pair: ImagePair, label: str, image: int, read: Predictions, info: Classes) -> str:
    predicted = [int(answers.predicted[image]) for answers in read.arms[label] if answers.seed in pair.seeds]
    return ", ".join(info.names[index] for index in dict.fromkeys(predicted))


def _pictures(pair: ImagePair, read: Predictions, info: Classes) -> list[Part]:
    """Return thumbnails of some of these images if the cache has them."""
    if info.stored is None:
        return []
    labels = read.arms[pair.a][0].labels
    parts: list[Part] = []
    for correct, incorrect, images in _sides(pair):
        selected = [int(image) for image in _evenly_spaced(images)]
        urls = thumbnails(info.stored, selected, labels)
        captions = [
            f"image {image}: {info.names[labels[image]]}, "
            f"classified as {_predicted_names(pair, incorrect, image, read, info)}"
            for image in selected
        ]
        if urls:
            caption = f"Correct in {correct}, wrong in {incorrect}, in every seed"
            parts.append(Pictures(caption, list(zip(urls, captions, strict=True))))
    return parts


def _evenly_spaced(images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at most `MOST_PICTURES` images, evenly spaced because they are sorted by class."""
    if len(images) <= MOST_PICTURES:
        return images
    return images[np.linspace(0, len(images) - 1, MOST_PICTURES).astype(np.int64)]


def _list_some(labels: Sequence[str], most: int = 5) -> str:
    return listed([*labels[:most], f"{len(labels) - most} more"]) if len(labels) > most else listed([*labels])
