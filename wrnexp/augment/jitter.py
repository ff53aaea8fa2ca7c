"""ColorJitter: brightness, contrast, saturation and hue, each with its own factor, in a random order per image."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from wrnexp.augment.operations import NUMBERS, OpPlan
from wrnexp.augment.settings import Jitter
from wrnexp.seeding import Numbers, below


class ColourJitter:
    """Turns random numbers into plans; the distribution is that of torchvision's ColorJitter.

    Attributes:
        words: random numbers per image.
        steps: for each step, the numbers of the operations that can be drawn in it.
    """

    words = 5

    def __init__(self, jitter: Jitter) -> None:
        names = [name for name, strength in jitter.items() if strength]
        self._numbers = np.array([NUMBERS[name] for name in names])
        self._orders = np.array(list(permutations(range(len(names)))))
        self._low, self._high = np.array([_interval(name, jitter) for name in names]).T
        self.steps: Sequence[Sequence[int]] = [self._numbers.tolist()] * len(names)

    def __call__(self, uniform: Numbers) -> OpPlan:
        """Return the plan of N images from random numbers [N, words] in [0, 1)."""
        count = len(self._numbers)
        order = self._orders[below(uniform[:, 0], len(self._orders))]
        factors = self._low + (self._high - self._low) * uniform[:, 1 : count + 1]
        return OpPlan(self._numbers[order], np.take_along_axis(factors, order, 1).astype(np.float32))


def _interval(name: str, jitter: Jitter) -> tuple[float, float]:
    strength = float(jitter[name])  # type: ignore[literal-required]
    return (-strength, strength) if name == "hue" else (max(0.0, 1 - strength), 1 + strength)
