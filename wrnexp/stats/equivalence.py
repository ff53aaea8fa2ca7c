"""Equivalence: whether two arms differ by less than a margin. That a difference is not significant does not show it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from wrnexp.stats.seeds import ALPHA, Interval, paired

COMPARABLE = 0.01  # of test accuracy, 0..1: arms within one point either way are called comparable


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided paired t-tests (TOST) of |mean of b - a| < margin.

    Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987. At level alpha it agrees with the interval of
    level 1 - 2 alpha lying inside the margins.

    Attributes:
        margin: above 0, in the unit of the values.
        p: the larger of the two p-values; None where there is no spread to test with.
        ci90: the 90% t-interval of the difference.
        equivalent: `p` is below 0.05.
    """

    margin: float
    p: float | None
    ci90: Interval | None
    equivalent: bool


def equivalence(a: Mapping[int, float], b: Mapping[int, float], margin: float = COMPARABLE) -> Equivalence:
    """Test whether two arms are equivalent, paired by seed.

    Args:
        a: value by seed; finite.
        b: the same for the other arm. Seeds that only one arm has are left out.
        margin: the largest difference that does not matter, above 0.
    """
    if not paired(a, b).sd:
        return Equivalence(margin, None, None, equivalent=False)
    differences = np.array([b[seed] - a[seed] for seed in sorted(a.keys() & b.keys())], dtype=np.float64)
    above = distributions.ttest_1samp(differences, -margin, alternative="greater")
    below = distributions.ttest_1samp(differences, margin, alternative="less")
    low, high = distributions.ttest_1samp(differences, 0.0).confidence_interval(1 - 2 * ALPHA)
    p = max(float(above.pvalue), float(below.pvalue))
    return Equivalence(margin, p, (float(low), float(high)), equivalent=p < ALPHA)
