"""Confusion matrix: counts compared with a plain loop, and the picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tests.report.page.made import answers
from wrnexp.data.sources.cifar import CIFAR100
from wrnexp.report.figures import style
from wrnexp.report.media import Confusion, confusion
from wrnexp.report.media.confusion import draw_confusion
from wrnexp.runs.record import DataInfo, Signature


def data(name: str, classes: list[str]) -> DataInfo:
    signature = Signature(classes=classes, mean=(0.5,) * 3, std=(0.2,) * 3, image_size=32)
    return DataInfo(name=name, digest={}, signature=signature, train=9, val=0, test=9)


def test_superclasses_are_those_of_the_data_set() -> None:
    labels = np.arange(2000) % 100
    logits = answers(np.random.default_rng(0), labels, 100, 2.0)
    matrix = confusion(data("cifar100", list(CIFAR100.classes)), logits, labels)
    assert matrix is not None
    assert CIFAR100.superclasses is not None
    of_class, names = CIFAR100.superclasses
    counts = [[0] * 20 for _ in range(20)]
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        counts[of_class[label]][of_class[row.index(max(row))]] += 1
    assert matrix.counts.tolist() == counts
    assert matrix.counts.dtype == np.int64
    assert matrix.kind == "superclass"
    plain = [name.replace("_", " ").replace("medium mammals", "medium-sized mammals") for name in names]
    assert matrix.names == plain


@pytest.mark.parametrize("count", [2, 30])
def test_few_classes_are_shown_themselves(count: int) -> None:
    labels = np.arange(200) % count
    logits = answers(np.random.default_rng(0), labels, count, 1.0)
    matrix = confusion(data("folder", [f"my_class_{label}" for label in range(count)]), logits, labels)
    assert matrix is not None
    assert (matrix.kind, matrix.names) == ("class", [f"my class {label}" for label in range(count)])
    for true in range(count):
        for predicted in range(count):
            assert matrix.counts[true, predicted] == ((labels == true) & (logits.argmax(1) == predicted)).sum()


def test_many_classes_are_not_shown() -> None:
    labels = np.arange(31)
    assert confusion(data("folder", [str(at) for at in range(31)]), np.eye(31), labels) is None


def test_data_that_the_record_does_not_know_have_numbers() -> None:
    matrix = confusion(None, np.eye(3), np.arange(3))
    assert matrix is not None
    assert matrix.names == ["class 0", "class 1", "class 2"]


def test_the_picture_has_the_shares_of_each_true_class(tmp_path: Path, figures: list[Any]) -> None:
    counts = np.array([[150, 49, 1], [0, 10, 30], [0, 0, 0]])  # 75, 24.5 and 0.5%; 0, 25 and 75%; none at all
    draw_confusion(tmp_path / "confusion.png", Confusion(counts, ["cat", "$dog_$", "fox"], "class"), "light, seed 0")
    (axes,) = figures[0].axes
    written = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert written == {((0, 0), "75"), ((1, 0), "24"), ((1, 1), "25"), ((2, 1), "75")}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "$dog_$", "fox"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "$dog_$", "fox"]
    correct_image, error_image = axes.images
    assert correct_image.get_array().filled(-1).tolist() == [[75, -1, -1], [-1, 25, -1], [-1, -1, 0]]
    assert error_image.get_array().filled(-1).tolist() == [[-1, 24.5, 0.5], [0, -1, 75], [0, 0, -1]]
    assert [to_hex(image.to_rgba(most)) for image, most in ((correct_image, 100.0), (error_image, 75.0))] == [
        colour.lower() for colour in style.COLOURS[:2]
    ]
