"""The worst mistakes: compared with a plain loop, and read back from their files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wrnexp.report.media.mistakes import draw_mistakes, worst
from wrnexp.runs.media import Mistake, read_mistakes

NAMES = ("cat", "dog", "fox", "owl")
Lists = list[list[float]]


def by_a_loop(logits: Lists, labels: Sequence[int]) -> dict[int, tuple[int, float, float]]:
    """Return (predicted class, p_true, p_predicted) by index of each misclassified image."""
    mistakes = {}
    for index, (row, label) in enumerate(zip(logits, labels, strict=True)):
        predicted = row.index(max(row))
        if predicted != label:
            total = sum(math.exp(value - max(row)) for value in row)
            mistakes[index] = (predicted, math.exp(row[label] - max(row)) / total, 1 / total)
    return mistakes


@given(
    st.lists(
        st.tuples(st.lists(st.floats(-20, 20, width=16), min_size=4, max_size=4), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 12),
)
def test_they_are_those_of_a_plain_loop(answers: list[tuple[list[float], int]], most: int) -> None:
    rows, labels = [row for row, _ in answers], [label for _, label in answers]
    selected = worst(np.array(rows, np.float16), np.array(labels), NAMES, most)
    expected = by_a_loop(rows, labels)
    assert len(selected) == min(most, len(expected))
    for mistake in selected:
        predicted, p_true, p_predicted = expected[mistake.index]
        assert (mistake.true, mistake.predicted) == (NAMES[labels[mistake.index]], NAMES[predicted])
        assert (mistake.p_true, mistake.p_predicted) == pytest.approx((p_true, p_predicted), rel=1e-9)
        assert mistake.loss == pytest.approx(-math.log(p_true), rel=1e-9)
    losses = [mistake.loss for mistake in selected]
    assert losses == sorted(losses, reverse=True)
    omitted = {index: -math.log(p_true) for index, (_, p_true, _) in expected.items()}
    for mistake in selected:
        del omitted[mistake.index]
    assert all(loss <= losses[-1] + 1e-9 for loss in omitted.values())


def mistakes(indices: Sequence[int]) -> list[Mistake]:
    return [Mistake(index, "cat", "dog", 0.01, 0.9, 4.6) for index in indices]


@pytest.mark.parametrize("count", [1, 8, 11, 64])
def test_they_are_read_back_with_their_images(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (100, 16, 16, 3), dtype=np.uint8)
    indices = rng.permutation(100)[:count].tolist()
    draw_mistakes(tmp_path, mistakes(indices), images.__getitem__)
    stored = json.loads((tmp_path / "media" / "mistakes.json").read_text())
    assert {name: stored[name] for name in ("tile", "columns")} == {"tile": 16, "columns": 8}
    assert list(stored["mistakes"][0]) == ["index", "true", "predicted", "p_true", "p_predicted", "loss"]
    with Image.open(tmp_path / "media" / "mistakes.png") as sprite:
        assert sprite.size == (128, 16 * math.ceil(count / 8))
    loaded = read_mistakes(tmp_path)
    assert [mistake["index"] for mistake in loaded] == indices
    for mistake in loaded:
        assert mistake["tile"].dtype == np.uint8
        assert np.array_equal(mistake["tile"], images[mistake["index"]])
        assert (mistake["true"], mistake["p_predicted"]) == ("cat", 0.9)


def test_without_mistakes_earlier_files_are_deleted(tmp_path: Path) -> None:
    draw_mistakes(tmp_path, mistakes([0]), np.zeros((1, 4, 4, 3), np.uint8).__getitem__)
    assert len(read_mistakes(tmp_path)) == 1
    for _ in range(2):
        draw_mistakes(tmp_path, worst(np.eye(4), np.arange(4), NAMES), np.zeros((4, 4, 4, 3), np.uint8).__getitem__)
        assert list((tmp_path / "media").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        read_mistakes(tmp_path)


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    draw_mistakes(tmp_path, mistakes(range(9)), np.zeros((9, 4, 4, 3), np.uint8).__getitem__)
    sprite = tmp_path / "media" / "mistakes.png"
    Image.new("RGB", (32, 4)).save(sprite)
    with pytest.raises(ValueError, match="tells of 9 images of 4 pixels"):
        read_mistakes(tmp_path)
    sprite.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="is not a picture"):
        read_mistakes(tmp_path)
