"""Two runs on the same images: which of them each gets right. This says nothing about other seeds of the same arms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from wrnexp.stats.seeds import ALPHA, Interval

RESAMPLES = 100_000
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class PerImage:
    """Counts of images, and what they say of the two networks on images like these.

    Attributes:
        both, only_a, only_b, neither: how many images who gets right.
        difference: accuracy of b minus that of a, in -1..1.
        ci95: percentile interval of `difference` over resampled images (paired bootstrap; Efron and Tibshirani,
            "An Introduction to the Bootstrap", 1993, chapter 13).
        p: two-sided exact McNemar test, Psychometrika 12, 1947; 1 where no image tells them apart.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    difference: float
    ci95: Interval
    p: float

    @property
    def images(self) -> int:
        """How many images there are."""
        return self.both + self.only_a + self.only_b + self.neither


def per_image(a: Right, b: Right, resamples: int = RESAMPLES, seed: int = 0) -> PerImage:
    """Compare two networks image by image.

    Args:
        a: whether the first gets an image right, `[N]`, N at least 1.
        b: the same for the second, the images in the same order.
        resamples: of the images, for the interval.
        seed: of the resampling.
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"answers {a.shape} and {b.shape}: want two of [N], N at least 1")
    both, only_a, only_b = (int(np.count_nonzero(cell)) for cell in (a & b, a & ~b, b & ~a))
    neither = len(a) - both - only_a - only_b
    told_apart = only_a + only_b
    p = float(distributions.binomtest(only_b, told_apart).pvalue) if told_apart else 1.0
    # An image's difference is -1, 0 or 1, so that resampling images is drawing how often each comes: a multinomial.
    counts = np.array([only_a, both + neither, only_b])
    drawn = np.random.default_rng(seed).multinomial(len(a), counts / len(a), size=resamples)
    low, high = np.quantile((drawn[:, 2] - drawn[:, 0]) / len(a), [ALPHA / 2, 1 - ALPHA / 2])
    return PerImage(both, only_a, only_b, neither, (only_b - only_a) / len(a), (float(low), float(high)), p)
