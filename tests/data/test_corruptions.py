"""Corrupted test images: search path, order of severities, and files that are refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from wrnexp.data.corruptions import BENCHMARK, EXTRA, find_corrupted
from wrnexp.errors import UserError

COUNT = 4
NOWHERE = Path("/nowhere")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIFAR-100-C of four images; every pixel is 10 times the severity plus the image's number."""
    folder = tmp_path / "data" / "CIFAR-100-C"
    folder.mkdir(parents=True)
    levels = np.array([10 * severity + image for severity in range(1, 6) for image in range(COUNT)], dtype=np.uint8)
    for name in ("fog", "saturate", "gaussian_noise"):
        np.save(folder / f"{name}.npy", np.broadcast_to(levels[:, None, None, None], (20, 32, 32, 3)))
    np.save(folder / "labels.npy", np.tile([3, 0, 99, 7], 5))
    return folder


def test_the_published_corruptions() -> None:
    assert (len(BENCHMARK), len(EXTRA), len({*BENCHMARK, *EXTRA})) == (15, 4, 19)


def test_severities_follow_one_another(folder: Path) -> None:
    corrupted = find_corrupted("cifar100", folder.parent, NOWHERE, 100)
    assert corrupted.names == ("gaussian_noise", "fog", "saturate")
    assert corrupted.labels.tolist() == [3, 0, 99, 7]
    for severity in range(1, 6):
        images = corrupted.images("fog", severity)
        assert images.labels.tolist() == [3, 0, 99, 7]
        pixels = images.gather(np.arange(COUNT))
        assert pixels.shape == (COUNT, 32, 32, 3)
        assert pixels[:, 5, 7, 1].tolist() == [10 * severity + image for image in range(COUNT)]


def test_where_it_is_looked_for(folder: Path) -> None:
    archive = folder.parent / "cifar-100-python.tar.gz"
    archive.touch()
    for root, cache in ((folder.parent, NOWHERE), (archive, NOWHERE), (None, folder.parent), (NOWHERE, folder.parent)):
        assert find_corrupted("cifar100", root, cache, 100).folder == folder


def test_absence_is_reported_with_the_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_corrupted("cifar10", tmp_path / "root", tmp_path / "cache", 10)
    assert f"{tmp_path}/root/CIFAR-10-C or {tmp_path}/cache/CIFAR-10-C" in str(caught.value)
    with pytest.raises(UserError, match="for cifar100 and cifar10, not for shapes"):
        find_corrupted("shapes", tmp_path, tmp_path, 24)


def test_a_folder_of_labels_alone(folder: Path) -> None:
    for path in folder.glob("[a-k]*.npy"):
        path.unlink()
    (folder / "saturate.npy").unlink()
    with pytest.raises(UserError, match=r"none of the corruptions' arrays, such as gaussian_noise\.npy"):
        find_corrupted("cifar100", folder.parent, NOWHERE, 100)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(21), r"\[21\]; expected \[5 N\]"),
        (np.zeros((20, 1)), r"\[20, 1\]; expected \[5 N\]"),
        (np.full(20, 100), "0 to 99"),
        (np.arange(20), "the same for every severity"),
    ],
)
def test_wrong_labels(folder: Path, labels: np.ndarray, words: str) -> None:
    np.save(folder / "labels.npy", labels)
    with pytest.raises(UserError, match=words):
        find_corrupted("cifar100", folder.parent, NOWHERE, 100)


def test_wrong_arrays(folder: Path) -> None:
    np.save(folder / "fog.npy", np.zeros((10, 32, 32, 3), dtype=np.uint8))
    np.save(folder / "saturate.npy", np.zeros((20, 32, 32, 3), dtype=np.float32))
    cut = (folder / "gaussian_noise.npy").read_bytes()[:-5]
    (folder / "gaussian_noise.npy").write_bytes(cut)
    corrupted = find_corrupted("cifar100", folder.parent, NOWHERE, 100)
    with pytest.raises(UserError, match=r"fog\.npy is uint8 \[10, 32, 32, 3\]; expected uint8 \[20, 32, 32, 3\]"):
        corrupted.images("fog", 1)
    with pytest.raises(UserError, match="is float32"):
        corrupted.images("saturate", 1)
    with pytest.raises(UserError, match=r"gaussian_noise\.npy cannot be read"):
        corrupted.images("gaussian_noise", 1)


@pytest.mark.parametrize("name", ["fog", "labels"])
def test_a_pickle_is_not_read_nor_advised(folder: Path, name: str) -> None:
    (folder / f"{name}.npy").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match=rf"{name}\.npy cannot be read") as raised:
        find_corrupted("cifar100", folder.parent, NOWHERE, 100).images(name, 1)
    assert "allow_pickle" not in str(raised.value)
