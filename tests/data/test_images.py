import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from wrnexp.data.images import ImageSet


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def images(pixels: np.ndarray, tmp_path: Path) -> ImageSet:
    """Every third of 50 images, backwards."""
    np.save(tmp_path / "images.npy", pixels)
    indices = np.arange(48, -1, -3)
    return ImageSet(tmp_path / "images.npy", indices, indices % 10)


def test_images_are_those_of_the_indices(images: ImageSet, pixels: np.ndarray) -> None:
    assert len(images) == 17
    assert (images[2] == pixels[42]).all()
    assert (images.gather(np.array([16, 0, 0])) == pixels[[0, 48, 48]]).all()


def test_a_subset_keeps_labels_with_images(images: ImageSet, pixels: np.ndarray) -> None:
    part = images.subset(np.array([3, 1]))
    assert (part[0] == pixels[39]).all()
    assert part.labels.tolist() == [9, 5]


def test_pickles_hold_no_pixels(images: ImageSet, pixels: np.ndarray) -> None:
    images[0]  # mapped by now
    data = pickle.dumps(images)
    assert len(data) < 2000
    assert (pickle.loads(data)[1] == pixels[45]).all()


def test_what_is_given_out_is_a_copy(images: ImageSet, pixels: np.ndarray) -> None:
    images[0][:] = 0
    images.gather(np.arange(3))[:] = 0
    assert (images[0] == pixels[48]).all()


def test_torch_takes_the_arrays_without_a_warning(images: ImageSet) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(images[0])
        torch.from_numpy(images.gather(np.arange(2)))
        torch.from_numpy(images.labels)


def test_the_file_is_mapped_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.npy").open("wb") as file:  # 3 GB that take no room
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 32, 32, 3)}
        )
        file.truncate(file.tell() + 10**6 * 3072)
    images = ImageSet(tmp_path / "large.npy", np.array([999_999]), np.array([0]))
    assert images[0].sum() == 0
