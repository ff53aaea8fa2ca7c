"""The built-in data set: 24 classes of drawn images (four outlines, six fills), equal on every machine.

Each image shows one filled outline of random position, angle, size, colour and contrast on an uneven background, with
clutter behind it and noise on top. No class is the mirror image of another.

Pixels are computed with +, -, *, /, square roots and comparisons only: these round the same way everywhere, unlike
sines and matrix products.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wrnexp.data.content import SIDE, Content, Split, SplitName, join
from wrnexp.seeding import derive

Floats = NDArray[np.float64]

TRAIN, TEST = 6000, 2400  # images per split
CHUNK = 240  # images drawn at once; a multiple of the number of classes


@dataclass(frozen=True)
class Shapes:
    """The source of `data=shapes`; its state is this module's code."""

    path: Path = Path(__file__)

    def state(self) -> Iterator[str]:
        """Yield a hash of the drawing code."""
        yield hashlib.sha256(self.path.read_bytes()).hexdigest()

    def read(self) -> Content:
        """Draw both splits (takes seconds)."""
        return Content(CLASSES, draw("train", TRAIN), draw("test", TEST))


def draw(split: SplitName, images: int) -> Split:
    """Draw the first `images` of a split, a multiple of `CHUNK`; labels cycle, so classes have equal size."""
    return join([_draw_chunk(derive(0, "shapes", split, chunk)) for chunk in range(images // CHUNK)])


class _Numbers:
    """Uniform random numbers from raw words, whose stream is the same in all versions of numpy."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.PCG64(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        words = self._words.random_raw(int(np.prod(shape)))
        fractions = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + (high - low) * fractions.reshape(shape)


def _draw_chunk(seed: int) -> Split:
    numbers = _Numbers(seed)
    labels = np.arange(CHUNK, dtype=np.int64) % len(CLASSES)
    background = numbers.uniform(0.2, 0.8, CHUNK, 1, 1, 3)
    canvas = background + _unevenness(numbers)
    for _ in range(2):
        canvas = _cover(canvas, _blob(numbers), numbers.uniform(0, 1, CHUNK, 1, 1, 3))
    contrast = _contrast(numbers)
    first, second = _colours(numbers, background)
    inside, fill = _figure(numbers, labels)
    canvas = _cover(canvas, inside * contrast, first + (second - first) * fill[..., None])
    canvas = canvas + numbers.uniform(-1, 1, CHUNK, SIDE, SIDE, 3) * numbers.uniform(0.01, 0.08, CHUNK, 1, 1, 1)
    return Split((canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8), labels)


def _contrast(numbers: _Numbers) -> Floats:
    """Return the opacity of each figure, [N, 1, 1]; one in six is so faint that no network classifies them all."""
    faint = numbers.uniform(0, 1, CHUNK, 1, 1) < 1 / 6
    share = numbers.uniform(0, 1, CHUNK, 1, 1)
    return np.where(faint, 0.25 * share, 0.5 + 0.5 * share)


def _colours(numbers: _Numbers, background: Floats) -> tuple[Floats, Floats]:
    """Return the two colours of each figure, [N, 1, 1, 3]: one lighter than the background, one darker."""
    sign = np.where(numbers.uniform(-1, 1, CHUNK, 1, 1, 1) < 0, -1.0, 1.0)
    first = background + sign * numbers.uniform(0.15, 0.6, CHUNK, 1, 1, 3)
    second = background - sign * numbers.uniform(0.15, 0.6, CHUNK, 1, 1, 3)
    return first, second


def _cover(canvas: Floats, coverage: Floats, colour: Floats) -> Floats:
    """Blend a colour into the canvas [N, H, W, 3] with the weights `coverage` [N, H, W]."""
    return canvas + (colour - canvas) * coverage[..., None]


def _figure(numbers: _Numbers, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return each pixel's coverage by the outline and its share of the second colour, both [N, H, W] in 0..1.

    The edge always has the first colour, so that every fill shows the outline.
    """
    radius = numbers.uniform(9, 13, len(labels), 1, 1)
    u, v = _rotate(numbers, *_offsets(numbers, len(labels), 2.5), 0.18)
    fill_u, fill_v = _rotate(numbers, u, v, 1)
    inside, fill = np.empty_like(u), np.empty_like(u)
    for label, (outline, pattern) in enumerate(_KINDS):
        selected = labels == label
        size = radius[selected]
        distance = outline(u[selected] / size, v[selected] / size) * size
        inside[selected] = (0.5 - distance).clip(0, 1)
        fill[selected] = pattern(fill_u[selected], fill_v[selected]) * (-0.5 - distance).clip(0, 1)
    return inside, fill


def _offsets(numbers: _Numbers, images: int, reach: float) -> tuple[Floats, Floats]:
    """Return pixel coordinates (right, down) relative to a point within ±`reach` of the centre, [N, H, W] each."""
    pixels = np.arange(SIDE) + 0.5 - SIDE / 2
    right = pixels[None, None, :] - numbers.uniform(-reach, reach, images, 1, 1)
    down = pixels[None, :, None] - numbers.uniform(-reach, reach, images, 1, 1)
    return right + 0 * down, down + 0 * right


def _rotate(numbers: _Numbers, x: Floats, y: Floats, max_tangent: float) -> tuple[Floats, Floats]:
    """Rotate each image's sampling grid by an angle in ±2·atan(`max_tangent`)."""
    tangent = numbers.uniform(-max_tangent, max_tangent, len(x), 1, 1)  # of half the angle
    cosine, sine = (1 - tangent * tangent) / (1 + tangent * tangent), 2 * tangent / (1 + tangent * tangent)
    return cosine * x - sine * y, sine * x + cosine * y


def _unevenness(numbers: _Numbers) -> Floats:
    """Return bilinear noise for the background, [N, H, W, 3]."""
    cells = 4
    knots = numbers.uniform(-0.15, 0.15, CHUNK, cells + 1, cells + 1, 3)
    position = np.arange(SIDE) * cells / SIDE
    low = position.astype(np.int64)
    fraction = position - low
    rows = knots[:, low] + (knots[:, low + 1] - knots[:, low]) * fraction[None, :, None, None]
    return rows[:, :, low] + (rows[:, :, low + 1] - rows[:, :, low]) * fraction[None, None, :, None]


def _blob(numbers: _Numbers) -> Floats:
    """Return the coverage of a small ellipse at a random position, [N, H, W]."""
    u, v = _rotate(numbers, *_offsets(numbers, CHUNK, 15), 1)
    long, short = numbers.uniform(1.5, 4, CHUNK, 1, 1), numbers.uniform(1, 2.5, CHUNK, 1, 1)
    return ((1 - np.sqrt((u / long) ** 2 + (v / short) ** 2)) * short + 0.5).clip(0, 1)


# Outlines: approximate signed distance from the edge, negative inside; all lengths are in units of the radius.


def _disc(u: Floats, v: Floats) -> Floats:
    return np.sqrt(u * u + v * v) - 0.9


def _box(u: Floats, v: Floats, width: float, height: float) -> Floats:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _bar(u: Floats, v: Floats) -> Floats:
    return _box(u, v, 1.1, 0.55)


def _cross(u: Floats, v: Floats) -> Floats:
    return np.minimum(_box(u, v, 1.05, 0.4), _box(u, v, 0.4, 1.05))


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.maximum(-v, 0.5 * v + 0.866025 * u), 0.5 * v - 0.866025 * u) - 0.55


# Fills: 0 for the first colour, 1 for the second; coordinates are in pixels.


def _plain(u: Floats, v: Floats) -> Floats:
    return np.zeros_like(u)


def _striped(u: Floats, v: Floats) -> Floats:
    return np.floor(u / 3) % 2


def _chequered(u: Floats, v: Floats) -> Floats:
    return (np.floor(u / 3.5) + np.floor(v / 3.5)) % 2


def _dotted(u: Floats, v: Floats) -> Floats:
    across, along = u / 5 - np.floor(u / 5) - 0.5, v / 5 - np.floor(v / 5) - 0.5
    return (across * across + along * along < 0.09).astype(np.float64)


def _banded(u: Floats, v: Floats) -> Floats:
    return np.floor(np.sqrt(u * u + v * v) / 2.5) % 2


def _halved(u: Floats, v: Floats) -> Floats:
    return (u < 0).astype(np.float64)


_OUTLINES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "bar": _bar, "cross": _cross, "disc": _disc, "triangle": _triangle,
}  # fmt: skip
_FILLS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "banded": _banded, "chequered": _chequered, "dotted": _dotted, "halved": _halved, "plain": _plain,
    "striped": _striped,
}  # fmt: skip

CLASSES = tuple(f"{fill}_{outline}" for fill in _FILLS for outline in _OUTLINES)
_KINDS = tuple((outline, fill) for fill in _FILLS.values() for outline in _OUTLINES.values())
