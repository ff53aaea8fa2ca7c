"""Comparison of stored files with their digests: once per process, in the background, before images are used."""

import os
import pickle
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wrnexp.data import Dataset, checks, load
from wrnexp.errors import UserError
from wrnexp.runs.digests import file_digest


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed during the test."""
    hashed: list[Path] = []

    def digest(path: Path) -> str:
        hashed.append(path)
        return file_digest(path)

    monkeypatch.setattr(checks, "file_digest", digest)
    return hashed


Load = Callable[..., Dataset]


@pytest.fixture
def load_folder(tmp_path: Path) -> Load:
    """Return a function that loads a data set of 24 training and 8 test images from the store."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for name in ("left", "right"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
                image.save(tmp_path / "images" / split / name / f"{number}.png")

    def load_images(val_size: int = 0, limit: int | None = None) -> Dataset:
        return load("folder", str(tmp_path / "images"), val_size, limit, limit, False)

    return load_images


def test_a_file_is_hashed_once_per_process(load_folder: Load, counted: list[Path]) -> None:
    for val_size in (0, 10):
        load_folder(val_size, limit=8).verify()
    assert sorted(path.name for path in counted) == ["test.npy", "train.npy"]


def test_a_file_that_changed_is_hashed_again(load_folder: Load, counted: list[Path]) -> None:
    data = load_folder()
    data.verify()
    flip(data.train.path)
    with pytest.raises(UserError, match=r"train\.npy is damaged: its content is not what was stored; remove ."):
        load_folder().verify()
    assert [path.name for path in counted].count("train.npy") == 2
    flip(data.train.path)
    os.utime(data.train.path)
    load_folder().verify()


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_no_image_of_a_damaged_file_is_read(load_folder: Load, split: str) -> None:
    flip(getattr(load_folder(val_size=10), split).path)
    images = getattr(load_folder(val_size=10), split)
    with pytest.raises(UserError, match="is damaged"):
        images[0]
    with pytest.raises(UserError, match="is damaged"):
        images.subset(np.arange(2)).gather(np.arange(2))


def test_a_damaged_header_is_reported_the_same_way(load_folder: Load) -> None:
    path = load_folder().test.path
    path.write_bytes(b"\x93NUMPY\x09" + path.read_bytes()[7:])
    with pytest.raises(UserError, match=r"test\.npy is damaged"):
        load_folder().test[0]


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.npy cannot be read \(No such file or directory\); remove"):
        checks.start(tmp_path / "gone.npy", "0" * 64).wait()


def test_other_processes_get_no_thread(load_folder: Load) -> None:
    data = load_folder()
    copied: Dataset = pickle.loads(pickle.dumps(data))
    assert copied.train.check is None
    copied.verify()
    assert (copied.train[3] == data.train[3]).all()


def test_a_set_without_a_digest_is_not_compared(numbered: Dataset) -> None:
    numbered.verify()
    replace(numbered, val=numbered.test).verify()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_wait_for_the_thread(load_folder: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    class Never:
        def join(self) -> None:
            signal.pause()

    check: Any = load_folder().train.check
    check.wait()
    monkeypatch.setattr(check, "_thread", Never())
    if (child := os.fork()) == 0:
        signal.alarm(20)
        check.wait()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
