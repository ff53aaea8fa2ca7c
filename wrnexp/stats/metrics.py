"""Figures of merit of a classifier, from its logits; numpy only, all sums in float64."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
TEMPERATURES = (0.05, 20.0)

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Reliability:
    """Images by the confidence of their answer, in intervals ((m - 1) / bins, m / bins] of the largest probability.

    Attributes:
        images: how many there are in each bin, int64 `[bins]`.
        confidence: sum of their largest probabilities, float64 `[bins]`.
        right: how many of them are answered right, float64 `[bins]`.
    """

    images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error, in 0..1: the mean distance between confidence and accuracy."""
        return float(np.abs(self.right - self.confidence).sum() / self.images.sum())


def top_k_accuracy(logits: Logits, labels: Labels, k: int = 1) -> float:
    """Return the share of images whose label is among the `k` largest logits, in 0..1.

    Equal logits rank by class index, as argmax has it, and NaN ranks above all, so a network that has collapsed or
    diverged gains nothing by it.

    Args:
        logits: `[N, classes]`, any float type.
        labels: class indices `[N]`.
        k: how many classes count as named.
    """
    _check(logits, labels)
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ahead = ~(logits <= own) | ((logits == own) & earlier)
    return float((ahead.sum(1) < k).mean())


def negative_log_likelihood(logits: Logits, labels: Labels) -> float:
    """Return the mean of -log p(label), in nats, p the softmax of the logits.

    Args:
        logits: `[N, classes]`, any float type.
        labels: class indices `[N]`.
    """
    _check(logits, labels)
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def expected_calibration_error(logits: Logits, labels: Labels, bins: int = BINS) -> float:
    """Return the mean distance between confidence and accuracy over bins of confidence, in 0..1.

    Guo et al., "On Calibration of Modern Neural Networks", 2017 (arXiv 1706.04599), equation 3: `bins` intervals
    ((m - 1) / bins, m / bins] of the largest probability, each weighted by its share of the images.

    Args:
        logits: `[N, classes]`, any float type.
        labels: class indices `[N]`.
        bins: intervals of equal width.
    """
    return reliability(logits, labels, bins).error


def reliability(logits: Logits, labels: Labels, bins: int = BINS) -> Reliability:
    """Count the images by confidence; the arguments are those of `expected_calibration_error`."""
    _check(logits, labels)
    confidence = np.exp(log_softmax(logits).max(1))
    correct = logits.argmax(1) == labels
    bin_of = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    images = np.bincount(bin_of, minlength=bins)
    sure, right = (np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence, correct))
    return Reliability(images.astype(np.int64), sure.astype(np.float64), right.astype(np.float64))


def fitted_temperature(logits: Logits, labels: Labels) -> float:
    """Return the number that the logits are to be divided by for the least negative log-likelihood.

    Temperature scaling of Guo et al., 2017 (arXiv 1706.04599), section 4.2. It is to be fitted on images that the
    figures after it are not taken from. The likelihood has one maximum in the inverse of the temperature, which is
    searched for in 0.05..20.

    Args:
        logits: `[N, classes]`, any float type, finite.
        labels: class indices `[N]`.
    """
    from scipy.optimize import brentq  # takes a while to import, and only reports need it

    _check(logits, labels)
    exact = logits.astype(np.float64) - logits.max(1, keepdims=True)
    own = exact[np.arange(len(labels)), labels].mean()

    def slope(inverse: float) -> float:
        """Return the derivative of the mean of -log p(label): the expected logit less the label's."""
        weights = np.exp(inverse * exact)
        return float(((weights * exact).sum(1) / weights.sum(1)).mean() - own)

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(low) >= 0:
        return TEMPERATURES[1]
    if slope(high) <= 0:
        return TEMPERATURES[0]
    return 1 / float(brentq(slope, low, high, xtol=1e-7))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the logarithms of the classes' probabilities, float64 `[N, classes]`, for logits of any float type."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normalised


def _check(logits: Logits, labels: Labels) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits {logits.shape} and labels {labels.shape}: want [N, classes] and [N], N at least 1")
