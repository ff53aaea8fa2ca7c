"""The reliability diagram: bars, marks and counts compared with a plain loop."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.page.made import answers
from wrnexp.report.media.reliability import draw_reliability
from wrnexp.stats import metrics


def test_bars_marks_and_counts_are_those_of_a_plain_loop(tmp_path: Path, figures: list[Any]) -> None:
    labels = np.arange(500) % 5
    logits = answers(np.random.default_rng(0), labels, 5, 1.5)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for row, label in zip(logits.astype(float).tolist(), labels.tolist(), strict=True):
        top = 1 / sum(math.exp(value - max(row)) for value in row)
        bins[max(0, math.ceil(15 * top) - 1)].append((top, row.index(max(row)) == label))
    draw_reliability(tmp_path / "media" / "r.png", metrics.reliability(logits, labels), "light, seed 0")
    above, below = figures[0].axes
    filled = [images for images in bins if images]
    assert len(filled) < 15  # none can be below the share of chance
    accuracy = [100 * sum(right for _, right in images) / len(images) for images in filled]
    confidence = [100 * sum(top for top, _ in images) / len(images) for images in filled]
    assert [bar.get_height() for bar in above.patches] == pytest.approx(accuracy)
    for bar, mean in zip(above.patches, confidence, strict=True):
        assert bar.get_x() - 0.3 <= mean <= bar.get_x() + bar.get_width() + 0.3
    diagonal, marks = above.lines
    assert (list(diagonal.get_xdata()), list(diagonal.get_ydata())) == ([0, 100], [0, 100])
    assert list(marks.get_xdata()) == pytest.approx(confidence)
    assert list(marks.get_ydata()) == pytest.approx(accuracy)
    assert [bar.get_height() for bar in below.patches] == [len(images) for images in bins]
    assert [text.get_text() for text in below.texts] == [str(len(images)) for images in filled]
    error = sum(abs(sum(right - top for top, right in images)) for images in bins) / 500
    assert above.get_title(loc="left").endswith(f"calibration error {100 * error:.1f} points")


def test_predictions_with_full_confidence(tmp_path: Path, figures: list[Any]) -> None:
    logits = np.array([[90.0, 0.0], [90.0, 0.0]])
    draw_reliability(tmp_path / "r.png", metrics.reliability(logits, np.array([0, 1])), "")
    assert [bar.get_height() for bar in figures[0].axes[0].patches] == [50.0]
