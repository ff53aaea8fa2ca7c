from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrnexp.data
from wrnexp.data import ImageSet, load
from wrnexp.data.datasets import obtain
from wrnexp.errors import UserError


def keys(images: ImageSet) -> set[int]:
    return set(images.indices.tolist())


@pytest.fixture
def root(tiny_cifar: Any, tmp_path: Path) -> str:
    return str(tiny_cifar.extracted(tmp_path / "data"))


@pytest.fixture
def name(tiny_cifar: Any) -> str:
    return str(tiny_cifar.spec.name)


def test_without_limits_everything_is_used(name: str, root: str) -> None:
    data = load(name, root, 0, None, None, False)
    assert (data.name, data.classes, data.image_size) == (name, ("cat", "dog", "fox"), 32)
    assert (len(data.train), data.val, len(data.test)) == (30, None, 12)


def test_validation_is_held_out_and_limits_take_from_the_rest(name: str, root: str) -> None:
    data = load(name, root, 6, 9, 3, False)
    assert data.val is not None
    assert (len(data.train), len(data.val), len(data.test)) == (9, 6, 3)
    assert not keys(data.train) & keys(data.val)
    for part, each in ((data.train, 3), (data.val, 2), (data.test, 1)):
        assert np.bincount(part.labels).tolist() == [each] * 3


def test_the_validation_images_do_not_depend_on_the_limits(name: str, root: str) -> None:
    whole, part = load(name, root, 6, None, None, False), load(name, root, 6, 3, None, False)
    assert whole.val is not None
    assert part.val is not None
    assert keys(whole.val) == keys(part.val)
    assert keys(part.train) < keys(whole.train)


def test_digest_and_statistics_are_of_the_whole_splits(name: str, root: str, tiny_cifar: Any) -> None:
    whole, part = load(name, root, 0, None, None, False), load(name, root, 6, 9, 3, False)
    assert whole.digest == part.digest == tiny_cifar.spec.digest
    assert (whole.mean, whole.std) == (part.mean, part.std)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((30, None, None), "data.val_size=30 is out of range: allowed are 0 to 29"),
        ((-1, None, None), "data.val_size=-1 is out of range: allowed are 0 to 29"),
        ((5, 26, None), "data.train_limit=26 is out of range: allowed are 1 to 25"),
        ((0, 0, None), "data.train_limit=0 is out of range: allowed are 1 to 30"),
        ((0, None, 13), "data.test_limit=13 is out of range: allowed are 1 to 12"),
    ],
)
def test_impossible_sizes(name: str, root: str, sizes: tuple[int, int | None, int | None], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(name, root, *sizes, False)
    assert str(caught.value) == message


def test_a_copy_that_was_read_is_found_without_a_root(name: str, root: str) -> None:
    stored = obtain(name, root)
    assert obtain(name, None, online=False) == stored
    assert load(name, None, 0, None, None, False).digest == stored.digest


def test_an_empty_root_takes_the_copy_too(name: str, root: str, tmp_path: Path) -> None:
    stored = obtain(name, root)
    (tmp_path / "empty").mkdir()
    assert obtain(name, str(tmp_path / "empty")) == stored


def test_a_root_is_looked_at_although_there_is_a_copy(name: str, root: str, tiny_cifar: Any) -> None:
    obtain(name, root)
    file = Path(root) / tiny_cifar.spec.layout.folder / tiny_cifar.spec.layout.names[0]
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(UserError, match="damaged or cut short"):
        obtain(name, root)


def test_without_a_copy_and_off_line(name: str, tiny_cifar: Any) -> None:
    with pytest.raises(UserError, match=f"{tiny_cifar.spec.title} is not in the cache; `wrnexp data import PATH"):
        obtain(name, None, online=False)


def test_without_a_network_the_message_says_how_to_import(name: str) -> None:
    with pytest.raises(
        UserError, match=f"cannot be downloaded .*wrnexp data import PATH --name {name}` or data.root=PATH"
    ):
        load(name, None, 0, None, None, False)


def test_only_known_names_are_exported() -> None:
    assert wrnexp.data.TrainLoader.__name__ == "TrainLoader"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wrnexp.data.nothing  # noqa: B018
