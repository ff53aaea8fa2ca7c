"""Arms against the baseline image by image and class by class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.report.predictions import Answers, Calibration, Predictions
from wrnexp.stats import Paired, PerImage, holm, paired, per_image

CAUTION = (
    "These tests take the two trained networks as given and ask whether they differ on images like these. They say "
    "nothing about other seeds of the same arms: for that, see the pairs above."
)


@dataclass(frozen=True)
class ImagePair:
    """An arm against the baseline on the test images.

    Attributes:
        a: label of the baseline.
        b: label of the arm.
        seeds: those of both that were read.
        found: the test of each seed.
        only_a: images that the baseline gets right and the arm wrong in every one of these seeds, ascending.
        only_b: the reverse.
    """

    a: str
    b: str
    seeds: list[int]
    found: list[PerImage]
    only_a: NDArray[np.int64]
    only_b: NDArray[np.int64]


@dataclass(frozen=True)
class GroupChange:
    """How the accuracy (0..1) on one class, or one superclass, changes from the baseline to an arm."""

    group: int
    images: int
    mean_a: float
    mean_b: float
    paired: Paired
    p_holm: float | None = None


@dataclass(frozen=True)
class Calibrated:
    """An arm's mean figures over the seeds read: NLL in nats, ECE in 0..1, the temperature; None where not known."""

    label: str
    seeds: list[int]
    nll: float
    ece: float
    temperature: float | None
    nll_after: float | None
    ece_after: float | None


def image_pairs(read: Predictions) -> list[ImagePair]:
    """Compare each arm with the baseline, seed by seed."""
    pairs = ((label, read.common(label)) for label in read.arms if label != read.baseline)
    return [_image_pair(read.baseline, label, common) for label, common in pairs if common]


def group_changes(common: Sequence[tuple[Answers, Answers]], groups: NDArray[np.int64]) -> list[GroupChange]:
    """Compare two arms on groups of classes, paired by seed and corrected by Holm for the number of groups.

    Args:
        common: the answers of both, one pair a seed, at least one.
        groups: the group of each class, `[classes]`, from 0 on.
    """
    of_image = groups[common[0][0].labels]
    images = np.bincount(of_image, minlength=int(groups.max()) + 1)
    shares = [tuple(_shares(side, of_image, images) for side in pair) for pair in common]
    found = [_group_change(int(group), int(images[group]), shares, common) for group in np.flatnonzero(images)]
    corrected = holm([change.paired.p for change in found])
    return [replace(change, p_holm=p) for change, p in zip(found, corrected, strict=True)]


def calibrated(read: Predictions) -> list[Calibrated]:
    """Return each arm's calibration before and, where validation logits were kept, after temperature scaling."""
    return [_calibrated(label, found) for label, found in read.arms.items()]


def pair_json(pair: ImagePair) -> dict[str, Any]:
    """Return one entry of `per_image` in report.json; differences are in 0..1."""
    return {
        "a": pair.a,
        "b": pair.b,
        "seeds": [{"seed": seed} | vars(test) for seed, test in zip(pair.seeds, pair.found, strict=True)],
        "only_a_in_every_seed": pair.only_a.tolist(),
        "only_b_in_every_seed": pair.only_b.tolist(),
    }


def _image_pair(a: str, b: str, common: Sequence[tuple[Answers, Answers]]) -> ImagePair:
    right_a, right_b = (np.stack([pair[side].right for pair in common]) for side in (0, 1))
    return ImagePair(
        a=a,
        b=b,
        seeds=[first.seed for first, _ in common],
        found=[per_image(first.right, second.right) for first, second in common],
        only_a=np.flatnonzero(right_a.all(0) & ~right_b.any(0)),
        only_b=np.flatnonzero(right_b.all(0) & ~right_a.any(0)),
    )


def _shares(answers: Answers, of_image: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the accuracy on each group, 0 where it has no image."""
    right = np.bincount(of_image, weights=answers.right, minlength=len(images))
    shares: NDArray[np.float64] = right / np.maximum(images, 1)
    return shares


def _group_change(
    group: int,
    images: int,
    shares: Sequence[tuple[NDArray[np.float64], ...]],
    common: Sequence[tuple[Answers, Answers]],
) -> GroupChange:
    seeds = [first.seed for first, _ in common]
    own, others = (dict(zip(seeds, (float(pair[side][group]) for pair in shares), strict=True)) for side in (0, 1))
    mean_a, mean_b = (sum(values.values()) / len(seeds) for values in (own, others))
    return GroupChange(group, images, mean_a, mean_b, paired(own, others))


def _calibrated(label: str, found: Sequence[Answers]) -> Calibrated:
    after = [answers.after for answers in found if answers.after]
    whole = len(after) == len(found)
    temperatures = [answers.temperature for answers in found if answers.temperature]
    before = [answers.before for answers in found]
    return Calibrated(
        label=label,
        seeds=[answers.seed for answers in found],
        nll=_mean(before, lambda one: one.nll),
        ece=_mean(before, lambda one: one.bins.error),
        temperature=sum(temperatures) / len(temperatures) if whole else None,
        nll_after=_mean(after, lambda one: one.nll) if whole else None,
        ece_after=_mean(after, lambda one: one.bins.error) if whole else None,
    )


def _mean(found: Sequence[Calibration], read: Callable[[Calibration], float]) -> float:
    return sum(map(read, found)) / len(found)
