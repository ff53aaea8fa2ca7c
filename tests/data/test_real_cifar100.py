"""The real CIFAR-100, if it is next to the repository."""

import pickle
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wrnexp.data import Dataset, load
from wrnexp.data.canonical import count_duplicates
from wrnexp.data.content import Content
from wrnexp.data.datasets import find_source, obtain
from wrnexp.data.sources.cifar import CIFAR100
from wrnexp.errors import UserError


@pytest.fixture(scope="module")
def data(real_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRNEXP_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load("cifar100", str(real_archive), 5000, None, None, False)


def test_it_is_the_published_data_set(data: Dataset) -> None:
    assert data.digest == CIFAR100.digest
    assert (len(data.train), len(data.val or ()), len(data.test)) == (45000, 5000, 10000)
    assert data.mean == pytest.approx((0.5070751592371323, 0.48654887331495095, 0.4409178433670343), abs=1e-12)
    assert data.std == pytest.approx((0.26733428587941854, 0.25643846292120615, 0.2761504713263903), abs=1e-9)


def test_ten_images_occur_in_both_splits(data: Dataset) -> None:
    whole = [np.load(part.path, mmap_mode="r") for part in (data.train, data.test)]
    assert count_duplicates(*whole) == 10


def test_superclasses_are_those_of_the_archive(data: Dataset, real_archive: Path) -> None:
    names = pickle.loads((real_archive / "cifar-100-python" / "meta").read_bytes(), encoding="latin1")
    batch = pickle.loads((real_archive / "cifar-100-python" / "test").read_bytes(), encoding="latin1")
    assert data.superclasses is not None
    assert list(data.classes) == names["fine_label_names"]
    assert list(data.superclasses.names) == names["coarse_label_names"]
    assert [data.superclasses.of_class[label] for label in batch["fine_labels"]] == batch["coarse_labels"]


def test_the_second_load_takes_well_under_a_second(
    real_archive: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(data.train.path.parents[2]))
    start = time.process_time()  # other work of the machine does not count
    load("cifar100", str(real_archive), 5000, None, None, False)
    assert time.process_time() - start < 0.9


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_folder_with_99_classes(tmp_path: Path, split: str) -> None:
    for part in ("train", "test"):
        for name in CIFAR100.classes:
            (tmp_path / part / name).mkdir(parents=True)
    (tmp_path / split / "dolphin").rmdir()
    with pytest.raises(UserError, match=f"{split} has 99 classes, the data set has 100: missing 'dolphin'"):
        obtain("cifar100", str(tmp_path))


@pytest.mark.slow
def test_every_form_gives_the_same_images(
    data: Dataset, real_archive: Path, real_folder: Path, tmp_path: Path, write_parquet: Callable[[Content, Path], Path]
) -> None:
    with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(real_archive / "cifar-100-python", arcname="cifar-100-python")
    source = find_source("cifar100", str(real_archive))
    assert source is not None
    hub = write_parquet(source.read(), tmp_path / "hub")
    for root in (tmp_path, real_folder, hub):
        again = load("cifar100", str(root), 5000, None, None, False)
        assert again.digest == data.digest
        for original, copy in ((data.train, again.train), (data.val, again.val), (data.test, again.test)):
            assert original is not None
            assert copy is not None
            assert (original.labels == copy.labels).all()
            assert (original.gather(np.arange(len(original))) == copy.gather(np.arange(len(copy)))).all()
