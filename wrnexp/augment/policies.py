"""Policies: the operations that an image draws. Distributions are those of torchvision's transforms of the same names.

A policy lists the variants (operation and strength) that it can draw, and turns random numbers into indices of them.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wrnexp.augment.operations import MOVEMENTS, NUMBERS, OpPlan, OpSpec
from wrnexp.errors import UserError
from wrnexp.seeding import Numbers, below

OpIndex = NDArray[np.int64]
IDENTITY = OpSpec("identity")

# Operations of RandAugment and TrivialAugment; the signed ones draw their sign evenly.
SIGNED = (
    "shear_x", "shear_y", "translate_x", "translate_y", "rotate",
    "brightness", "saturation", "contrast", "sharpness",
)  # fmt: skip
SPACE = ("identity", *SIGNED, "posterize", "solarize", "autocontrast", "equalize")

# The policy found on CIFAR-10: Cubuk et al., "AutoAugment", 2019 (arXiv 1805.09501), table 7. Two operations, each with
# its probability and the index of its magnitude, 0 to 9. `color` is called saturation here.
CIFAR10 = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("saturation", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("saturation", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("saturation", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("saturation", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("saturation", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)


class Policy(Protocol):
    """The interface of a policy.

    Attributes:
        variants: all that can be drawn, distinct.
        words: random numbers per image.
        steps: for each step, the indices of the variants that can be drawn in it.
    """

    variants: list[OpSpec]
    words: int
    steps: list[list[int]]

    def __call__(self, numbers: Numbers) -> OpIndex:
        """Turn random numbers, float64 [N, words] in [0, 1), into indices of variants, int64 [N, steps]."""
        ...


class RandAugment:
    """`num_ops` operations, each drawn evenly from `SPACE`, at the strength `magnitude`, 0 to 30 (arXiv 1909.13719)."""

    def __init__(self, num_ops: int, magnitude: int, height: int, width: int) -> None:
        levels = _magnitudes(31, height, width)
        self.words = 2 * num_ops
        self.variants, self._table = _indexed([_signs(name, levels[name][magnitude]) for name in SPACE])
        self.steps = [list(range(len(self.variants)))] * num_ops

    def __call__(self, numbers: Numbers) -> OpIndex:
        """Draw an operation and a sign for each step, see `Policy`."""
        pairs = numbers.reshape(len(numbers), -1, 2)
        return self._table[below(pairs[..., 0], len(SPACE)), below(pairs[..., 1], 2)]


class TrivialAugmentWide:
    """One operation of `SPACE` at one of 31 strengths, both drawn evenly, in wider ranges (arXiv 2103.10158)."""

    words = 3

    def __init__(self, height: int, width: int) -> None:
        levels = _strengths(0.99, 32.0, 32.0, 135.0, 0.99, 8 - 2, 31)
        rows = [_signs(name, levels[name][magnitude]) for name in SPACE for magnitude in range(31)]
        self.variants, table = _indexed(rows)
        self._table = table.reshape(len(SPACE), 31, 2)
        self.steps = [list(range(len(self.variants)))]

    def __call__(self, numbers: Numbers) -> OpIndex:
        """Draw an operation, a strength and a sign, see `Policy`."""
        operation, magnitude, sign = (below(numbers[:, i], n) for i, n in enumerate(self._table.shape))
        return self._table[operation, magnitude, sign][:, None]


class AutoAugment:
    """One of the sub-policies of `CIFAR10`, drawn evenly; each of its two operations applies with its probability."""

    words = 5

    def __init__(self, height: int, width: int) -> None:
        levels = _magnitudes(10, height, width)
        flat = [operation for pair in CIFAR10 for operation in pair]
        rows = [_signs(name, levels[name][magnitude]) for name, _, magnitude in flat]
        self.variants, table = _indexed([*rows, (IDENTITY, IDENTITY)])
        self._identity = int(table[-1, 0])
        self._table = table[:-1].reshape(len(CIFAR10), 2, 2)
        self._probability = np.array([p for _, p, _ in flat]).reshape(len(CIFAR10), 2)
        self.steps = [sorted({self._identity, *self._table[:, step].flatten().tolist()}) for step in range(2)]

    def __call__(self, numbers: Numbers) -> OpIndex:
        """Draw a sub-policy, then for each operation whether it applies, and its sign, see `Policy`."""
        pair = below(numbers[:, 0], len(CIFAR10))
        applies = numbers[:, 1:3] < self._probability[pair]
        drawn = self._table[pair[:, None], [0, 1], below(numbers[:, 3:5], 2)]
        return np.where(applies, drawn, self._identity)


class PolicyPlans:
    """Turns random numbers into plans by a policy.

    Attributes:
        words: random numbers per image.
        steps: for each step, the numbers of the operations that can be drawn in it.
        moves: the variants that move pixels; the plan's strength of such a variant is its index here.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy, self.words = policy, policy.words
        self.moves = [spec for spec in policy.variants if spec.operation in MOVEMENTS]
        numbers = [NUMBERS["move"] if spec in self.moves else NUMBERS[spec.operation] for spec in policy.variants]
        strengths = [self.moves.index(spec) if spec in self.moves else spec.strength for spec in policy.variants]
        self._numbers, self._strengths = np.array(numbers), np.array(strengths, dtype=np.float32)
        self.steps = [sorted({numbers[variant] for variant in step}) for step in policy.steps]

    def __call__(self, uniform: Numbers) -> OpPlan:
        """Return the plan of N images from random numbers [N, words] in [0, 1)."""
        variants = self._policy(uniform)
        return OpPlan(self._numbers[variants], self._strengths[variants])


def policy(name: str, num_ops: int, magnitude: int, height: int, width: int) -> Policy | None:
    """Return the policy of this config name; None for `none`.

    Raises:
        UserError: the name is unknown.
    """
    match name:
        case "none":
            return None
        case "autoaugment":
            return AutoAugment(height, width)
        case "randaugment":
            return RandAugment(num_ops, magnitude, height, width)
        case "trivialaugment":
            return TrivialAugmentWide(height, width)
        case unknown:
            raise UserError(f"augment.policy is {unknown}: none, autoaugment, randaugment or trivialaugment")


def _signs(name: str, magnitude: float) -> tuple[OpSpec, OpSpec]:
    """Return the variants with negative and positive sign; the same variant twice for an unsigned operation."""
    if name not in SIGNED:
        return (OpSpec(name, magnitude),) * 2
    if name in ("brightness", "saturation", "contrast", "sharpness"):  # torchvision's factors are 1 + magnitude
        return OpSpec(name, 1.0 - magnitude), OpSpec(name, 1.0 + magnitude)
    if name.startswith("translate"):
        return OpSpec(name, float(-int(magnitude))), OpSpec(name, float(int(magnitude)))
    return OpSpec(name, -magnitude), OpSpec(name, magnitude)


def _indexed(rows: Sequence[tuple[OpSpec, OpSpec]]) -> tuple[list[OpSpec], OpIndex]:
    """Return the distinct variants, and the rows as indices into them, int64 [len(rows), 2]."""
    variants = list(dict.fromkeys(variant for row in rows for variant in row))
    return variants, np.array([[variants.index(variant) for variant in row] for row in rows])


def _linear(last: float, bins: int) -> list[float]:
    # In float32, as in torchvision, so that factors round the same way.
    levels: list[float] = torch.linspace(0.0, last, bins).tolist()
    return levels


def _magnitudes(bins: int, height: int, width: int) -> dict[str, list[float]]:
    """Return the strengths of AutoAugment and RandAugment by operation, weakest first."""
    fraction = 150.0 / 331.0  # AutoAugment moved images of 331 pixels by up to 150
    return _strengths(0.3, fraction * width, fraction * height, 30.0, 0.9, 8 - 4, bins)


def _strengths(
    shear: float, right: float, down: float, degrees: float, mix: float, bits: int, bins: int
) -> dict[str, list[float]]:
    return {
        "shear_x": _linear(shear, bins),
        "shear_y": _linear(shear, bins),
        "translate_x": _linear(right, bins),
        "translate_y": _linear(down, bins),
        "rotate": _linear(degrees, bins),
        **dict.fromkeys(("brightness", "saturation", "contrast", "sharpness"), _linear(mix, bins)),
        "posterize": (8 - torch.arange(bins) / ((bins - 1) / bits)).round().tolist(),
        "solarize": torch.linspace(1.0, 0.0, bins).tolist(),
        **dict.fromkeys(("identity", "autocontrast", "equalize", "invert"), [0.0] * bins),
    }
