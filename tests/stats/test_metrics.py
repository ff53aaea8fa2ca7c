import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import log_softmax, softmax

from wrnexp.stats import metrics
from wrnexp.stats.metrics import expected_calibration_error, negative_log_likelihood, top_k_accuracy

Answers = tuple[NDArray[np.float32], NDArray[np.int64]]


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Logits with ties and large values, and labels."""
    images, classes = draw(st.integers(1, 30)), draw(st.integers(2, 12))
    values = st.one_of(st.integers(-3, 3), st.floats(-300, 300, width=16)).map(float)
    logits = draw(arrays(np.float32, (images, classes), elements=values))
    return logits, draw(arrays(np.int64, images, elements=st.integers(0, classes - 1)))


@settings(deadline=None)
@given(answers(), st.integers(1, 14))
def test_top_k_by_sorting(answer: Answers, k: int) -> None:
    logits, labels = answer
    named = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    expected = np.mean([label in row for row, label in zip(named, labels, strict=True)])
    assert top_k_accuracy(logits, labels, k) == pytest.approx(expected)


@settings(deadline=None)
@given(answers())
def test_top_1_is_argmax(answer: Answers) -> None:
    logits, labels = answer
    assert top_k_accuracy(logits, labels) == pytest.approx((logits.argmax(1) == labels).mean())


@settings(deadline=None)
@given(answers())
def test_likelihood_is_scipys(answer: Answers) -> None:
    logits, labels = answer
    expected = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean()
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-12, abs=1e-12)


def calibration_by_hand(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int) -> float:
    probabilities = softmax(logits.astype(np.float64), axis=1)
    total = 0.0
    for number in range(bins):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels, strict=True)
            if number / bins < row.max() <= (number + 1) / bins
        ]
        if inside:
            confidence, correct = np.mean(inside, axis=0)
            total += len(inside) / len(labels) * abs(correct - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 7, 15])
@pytest.mark.parametrize("seed", range(5))
def test_calibration_is_the_sum_over_bins(bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (200, 6)).astype(np.float32)
    labels = np.where(rng.random(200) < 0.6, logits.argmax(1), rng.integers(0, 6, 200))
    found = expected_calibration_error(logits, labels, bins)
    assert found == pytest.approx(calibration_by_hand(logits, labels, bins), rel=1e-9)


@settings(deadline=None)
@given(answers())
def test_calibration_with_one_bin_and_in_general(answer: Answers) -> None:
    logits, labels = answer
    confidence = softmax(logits.astype(np.float64), axis=1).max(1).mean()
    correct = (logits.argmax(1) == labels).mean()
    assert expected_calibration_error(logits, labels, 1) == pytest.approx(abs(correct - confidence), abs=1e-9)
    assert abs(correct - confidence) - 1e-9 <= expected_calibration_error(logits, labels) <= 1


def test_calibration_of_known_answers() -> None:
    sure = np.log(np.array([[0.8, 0.2]] * 10))
    labels = np.array([0] * 8 + [1] * 2)
    assert expected_calibration_error(sure, labels) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(sure, np.zeros(10, np.int64)) == pytest.approx(0.2)
    assert negative_log_likelihood(sure, labels) == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.2))


def test_a_collapsed_or_diverged_network_gains_nothing() -> None:
    labels = np.arange(10)
    assert top_k_accuracy(np.zeros((10, 10)), labels) == 0.1
    assert top_k_accuracy(np.zeros((10, 10)), labels, 5) == 0.5
    assert top_k_accuracy(np.full((10, 10), np.nan), labels, 5) == 0.0


def test_half_precision_logits_do_not_overflow() -> None:
    logits = np.array([[60000, -60000, 0], [3, 2, 1]], np.float16)
    labels = np.array([1, 0])
    expected = -log_softmax(logits.astype(np.float64), axis=1)[[0, 1], labels].mean()
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected)
    assert 0 <= expected_calibration_error(logits, labels) <= 1


@pytest.mark.parametrize(("logits", "labels"), [((0, 3), 0), ((4, 3), 5), ((4,), 4)])
def test_shapes_that_do_not_fit(logits: tuple[int, ...], labels: int) -> None:
    for metric in (top_k_accuracy, negative_log_likelihood, expected_calibration_error):
        with pytest.raises(ValueError, match=r"want \[N, classes\] and \[N\]"):
            metric(np.zeros(logits), np.zeros(labels, np.int64))


def test_reliability_counts_every_image_in_the_bin_of_its_confidence() -> None:
    logits, labels = _made(400, 5)
    found = metrics.reliability(logits, labels, bins=10)
    images, sure, right = [0] * 10, [0.0] * 10, [0] * 10
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        powers = [math.exp(value) for value in row]
        confidence = max(powers) / sum(powers)
        place = math.ceil(10 * confidence) - 1
        images[place] += 1
        sure[place] += confidence
        right[place] += row.index(max(row)) == label
    assert found.images.tolist() == images
    assert found.confidence == pytest.approx(sure, abs=1e-9)
    assert found.right.tolist() == right
    gaps = [abs(hit - trust) for hit, trust in zip(right, sure, strict=True)]
    assert found.error == pytest.approx(sum(gaps) / 400, abs=1e-12)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_fitted_temperature_has_the_least_loss(scale: float) -> None:
    logits, labels = _made(2000, 8)
    temperature = metrics.fitted_temperature(scale * logits, labels)
    best = optimize.minimize_scalar(
        lambda log: metrics.negative_log_likelihood(scale * logits / math.exp(log), labels), bounds=(-3, 3)
    )
    assert temperature == pytest.approx(math.exp(best.x), rel=1e-4)
    # Logits that are so many times as large need a temperature so many times as high.
    assert temperature == pytest.approx(scale * metrics.fitted_temperature(logits, labels), rel=1e-5)


def test_temperatures_stay_within_bounds() -> None:
    logits = np.eye(3)
    assert metrics.fitted_temperature(logits, np.arange(3)) == 0.05  # always right: the surer the better
    assert metrics.fitted_temperature(logits, np.array([1, 2, 0])) == 20.0  # always wrong: the less sure the better


def _made(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(4)
    labels = chance.integers(0, classes, count)
    logits = chance.standard_normal((count, classes))
    logits[np.arange(count), labels] += 1.5
    return logits, labels
