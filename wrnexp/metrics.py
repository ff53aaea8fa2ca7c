"""Figures of merit of a classifier, from its logits; numpy only, all sums in float64."""

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]


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
    return float(-_log_softmax(logits)[np.arange(len(labels)), labels].mean())


def expected_calibration_error(logits: Logits, labels: Labels, bins: int = 15) -> float:
    """Return the mean distance between confidence and accuracy over bins of confidence, in 0..1.

    Guo et al., "On Calibration of Modern Neural Networks", 2017 (arXiv 1706.04599), equation 3: `bins` intervals
    ((m - 1) / bins, m / bins] of the largest probability, each weighted by its share of the images.

    Args:
        logits: `[N, classes]`, any float type.
        labels: class indices `[N]`.
        bins: intervals of equal width.
    """
    _check(logits, labels)
    confidence = np.exp(_log_softmax(logits).max(1))
    correct = logits.argmax(1) == labels
    bin_of = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    gaps = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normalised


def _check(logits: Logits, labels: Labels) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(f"logits {logits.shape} and labels {labels.shape}: want [N, classes] and [N], N at least 1")
