"""Statistics over seeds: intervals of one arm, paired tests of two, equivalence, factorials, and the seeds they need.

Distributions and tests are those of scipy. Values that do not vary at all give no interval and no p-value: where every
seed gives the same number, the spread between seeds has not been measured, and most often the seed did not reach the
training.
"""

from wrnexp.stats.equivalence import COMPARABLE, Equivalence, equivalence
from wrnexp.stats.factorial import Cells, Effect, Factorial, FTest, factorial
from wrnexp.stats.images import PerImage, per_image
from wrnexp.stats.power import POWER, USUAL_EFFECT, USUAL_SD, paired_power, seeds_needed, shortfall, smallest_difference
from wrnexp.stats.seeds import (
    ALPHA,
    Interval,
    Paired,
    Ratio,
    Spread,
    Summary,
    Verdict,
    holm,
    paired,
    paired_ratio,
    spread,
    spread_of_one,
    summary,
    verdict,
)

__all__ = [
    "ALPHA",
    "COMPARABLE",
    "POWER",
    "USUAL_EFFECT",
    "USUAL_SD",
    "Cells",
    "Effect",
    "Equivalence",
    "FTest",
    "Factorial",
    "Interval",
    "Paired",
    "PerImage",
    "Ratio",
    "Spread",
    "Summary",
    "Verdict",
    "equivalence",
    "factorial",
    "holm",
    "paired",
    "paired_power",
    "paired_ratio",
    "per_image",
    "seeds_needed",
    "shortfall",
    "smallest_difference",
    "spread",
    "spread_of_one",
    "summary",
    "verdict",
]
