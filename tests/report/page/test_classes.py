"""Class names and test images, from published lists and from the cache."""

import base64
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wrnexp.report.page.classes import classes, thumbnails
from wrnexp.runs.record import DataInfo

# The coarse label of each fine label in CIFAR-100's archive, as it is widely reprinted.
COARSE = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
    12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
    12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14,
    13,
]  # fmt: skip
DIGEST = {"train": "aa", "test": "bb"}


def _data(name: str, digest: dict[str, str]) -> DataInfo:
    return DataInfo(name=name, digest=digest, train=100, val=0, test=4)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path))
    folder = tmp_path / "store" / "folder-1234"
    folder.mkdir(parents=True)
    np.save(folder / "test.npy", np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))
    np.save(folder / "test_labels.npy", np.array([0, 0, 1, 1]))
    sha256 = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    meta = {"classes": ["red_cat", "dog"], "digest": DIGEST, "sha256": sha256}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def test_cifar100_has_its_superclasses(stored: Path) -> None:
    info = classes(_data("cifar100", {"test": "other"}), 100)
    assert info.groups.tolist() == COARSE
    assert (info.names[0], info.names[1], info.names[99]) == ("apple", "aquarium fish", "worm")
    assert (info.superclasses[0], info.superclasses[19]) == ("aquatic mammals", "vehicles 2")
    assert info.stored is None


def test_names_come_from_the_cache_where_the_digests_are_the_same(stored: Path) -> None:
    info = classes(_data("folder", DIGEST), 2)
    assert (info.names, info.superclasses, info.stored) == (["red cat", "dog"], [], stored)
    assert classes(_data("folder", {"train": "aa", "test": "cc"}), 2).names == ["class 0", "class 1"]
    assert classes(None, 2).names == ["class 0", "class 1"]


@pytest.mark.parametrize("meta", ["", "[]", '{"digest": 3}', '{"classes": 3, "digest": {"train": "aa", "test": "bb"}}'])
def test_a_damaged_cache_gives_no_names(stored: Path, meta: str) -> None:
    (stored / "meta.json").write_text(meta)
    assert classes(_data("folder", DIGEST), 2).names == ["class 0", "class 1"]


def test_pictures_are_the_stored_pixels(stored: Path) -> None:
    pixels = np.load(stored / "test.npy")
    urls = thumbnails(stored, [3, 1], np.array([0, 0, 1, 1]))
    assert len(urls) == 2
    for address, index in zip(urls, (3, 1), strict=True):
        head, encoded = address.split(",")
        assert head == "data:image/png;base64"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded)))), pixels[index])


def test_there_are_no_pictures_of_other_images(stored: Path) -> None:
    assert thumbnails(stored, [0], np.array([0, 1, 1, 1])) == []  # a part of the test set, or another order
    assert thumbnails(stored, [9], np.array([0, 0, 1, 1])) == []
    (stored / "test.npy").unlink()
    assert thumbnails(stored, [0], np.array([0, 0, 1, 1])) == []


@pytest.mark.parametrize("name", ["test.npy", "test_labels.npy"])
@pytest.mark.parametrize("at", [40, -1, None])
def test_there_are_no_pictures_from_damaged_files(
    stored: Path, capsys: pytest.CaptureFixture[str], name: str, at: int | None
) -> None:
    content = bytearray((stored / name).read_bytes())
    if at is not None:
        content[at] ^= 4
    (stored / name).write_bytes(b"" if at is None else content)
    assert thumbnails(stored, [0], np.array([0, 0, 1, 1])) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{stored / name} is damaged, and the page shows no images: remove {stored}")


@pytest.mark.parametrize("name", ["test.npy", "test_labels.npy", "meta.json"])
def test_named_pipes_are_not_waited_for(stored: Path, name: str) -> None:
    (stored / name).unlink()
    os.mkfifo(stored / name)
    assert thumbnails(stored, [0], np.array([0, 0, 1, 1])) == []
    assert classes(_data("folder", DIGEST), 2).stored == (None if name == "meta.json" else stored)
