from collections.abc import Callable

import numpy as np
import pytest

from wrnexp.data import load
from wrnexp.data.canonical import count_duplicates
from wrnexp.data.content import Content, Split
from wrnexp.data.sources import shapes

DIGEST = {
    "train": "7708074e381a825106a29e30aae53fe86b284d39cc2e733ea5b39c3901ad4d71",
    "test": "9e250b814e60bc773398eea02ff9e273735966f5f3c785a5506718bf01ac0d06",
}


@pytest.fixture(scope="module")
def drawn() -> Content:
    return shapes.Shapes().read()


def test_the_images_are_the_same_on_every_machine(drawn: Content, contract_digest: Callable[[Split], str]) -> None:
    assert {"train": contract_digest(drawn.train), "test": contract_digest(drawn.test)} == DIGEST


def test_sizes_and_classes(drawn: Content) -> None:
    assert len(set(drawn.classes)) == len(drawn.classes) == 24
    assert drawn.train.images.shape == (6000, 32, 32, 3)
    assert drawn.train.images.dtype == np.uint8
    assert np.bincount(drawn.train.labels).tolist() == [250] * 24
    assert np.bincount(drawn.test.labels).tolist() == [100] * 24


def test_no_image_is_drawn_twice(drawn: Content) -> None:
    assert len({image.tobytes() for image in drawn.train.images}) == 6000
    assert count_duplicates(drawn.train.images, drawn.test.images) == 0


def test_fewer_images_are_the_first_of_more(drawn: Content) -> None:
    assert (shapes.draw("test", 480).images == drawn.test.images[:480]).all()


def test_the_first_word_is_the_fill_and_the_second_the_outline() -> None:
    assert shapes.CLASSES[0] == "banded_bar"
    assert {name.split("_")[0] for name in shapes.CLASSES} == {
        "banded", "chequered", "dotted", "halved", "plain", "striped",
    }  # fmt: skip
    assert {name.split("_")[1] for name in shapes.CLASSES} == {"bar", "cross", "disc", "triangle"}


def nearest_mean_accuracy(train: Split, test: Split) -> float:
    means = np.stack([train.images[train.labels == label].mean(axis=0).ravel() for label in range(24)])
    pixels = test.images.reshape(len(test.images), -1).astype(np.float32)
    distances = (means**2).sum(axis=1) - 2 * pixels @ means.T
    return float((distances.argmin(axis=1) == test.labels).mean())


def test_average_pixels_do_not_separate_the_classes(drawn: Content) -> None:
    assert nearest_mean_accuracy(drawn.train, drawn.test) < 0.15


def test_images_vary_in_colour_and_contrast(drawn: Content) -> None:
    means = drawn.train.images.reshape(6000, -1, 3).mean(axis=1)
    assert (means.std(axis=0) > 25).all()
    assert np.percentile(drawn.train.images.std(axis=(1, 2, 3)), 95) > 1.7 * np.percentile(
        drawn.train.images.std(axis=(1, 2, 3)), 5
    )


def test_a_mirrored_class_is_the_same_class(drawn: Content) -> None:
    """A classifier on gradient features, trained without mirrored images, is as accurate on mirrored ones."""
    mirrored = Split(drawn.test.images[:, :, ::-1], drawn.test.labels)
    plain_hits, mirrored_hits = (fill_accuracy(drawn.train, test) for test in (drawn.test, mirrored))
    assert plain_hits > 0.3
    assert abs(plain_hits - mirrored_hits) < 0.03


def fill_accuracy(train: Split, test: Split) -> float:
    """Classify the six fills by nearest mean of average edge strengths at four distances."""
    means = np.stack([edges(train.images[train.labels // 4 == fill]).mean(axis=0) for fill in range(6)])
    distances = ((edges(test.images)[:, None] - means) ** 2).sum(axis=-1)
    return float((distances.argmin(axis=1) == test.labels // 4).mean())


def edges(images: np.ndarray) -> np.ndarray:
    grey = images.mean(axis=-1)
    grey = (grey - grey.mean(axis=(1, 2), keepdims=True)) / grey.std(axis=(1, 2), keepdims=True)
    return np.stack(
        [
            size
            for step in (1, 2, 3, 5)
            for size in (
                np.abs(grey[:, step:] - grey[:, :-step]).mean(axis=(1, 2)),
                np.abs(grey[:, :, step:] - grey[:, :, :-step]).mean(axis=(1, 2)),
            )
        ],
        axis=1,
    )


def test_the_second_load_draws_nothing(drawn: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    load("shapes", None, 0, None, None, False)
    monkeypatch.setattr(shapes, "draw", None)
    data = load("shapes", None, 240, 480, 240, False)
    assert (len(data.train), len(data.test)) == (480, 240)
    assert data.digest == DIGEST
