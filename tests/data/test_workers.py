import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from wrnexp.batching import step_plan
from wrnexp.data import ImageSet, TrainLoader, eval_batches
from wrnexp.data.loaders import shuffled
from wrnexp.errors import UserError
from wrnexp.seeding import derive

# Python 3.12 warns of every fork in a process with threads, and torch has threads; its workers are made for that.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*fork\(\).*:DeprecationWarning")

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
TRANSFORM = v2.Compose(
    [
        v2.RandomCrop(32, padding=4),
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
)
OPTIONS: dict[str, Any] = {
    "seed": 3, "batch_size": 8, "workers": 0, "prefetch_factor": 2, "drop_last": False, "persistent_workers": False,
    "pin_memory": True, "accumulate": 2,
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """45 images, each label its own, in another order than in the file."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8))
    return ImageSet(tmp_path / "images.npy", rng.permutation(60)[:45], np.arange(45))


def loader(images: ImageSet, **changes: Any) -> TrainLoader:
    return TrainLoader(images, TRANSFORM, **{**OPTIONS, **changes})


def by_label(batches: Iterator[tuple[Tensor, Tensor]]) -> dict[int, Tensor]:
    return {int(label): image for batch, labels in batches for image, label in zip(batch, labels, strict=True)}


def equal(one: dict[int, Tensor], other: dict[int, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_follows_its_plan(images: ImageSet, drop_last: bool, workers: int) -> None:
    train = loader(images, drop_last=drop_last, workers=workers)
    batches = list(train.epoch(1))
    assert train.plan == step_plan(45, 8, 2, drop_last=drop_last)
    assert [len(labels) for _, labels in batches] == [size for step in train.plan for size in step]
    for pixels, labels in batches:
        assert (pixels.shape, pixels.dtype) == ((len(labels), 3, 32, 32), torch.float32)
        assert labels.dtype == torch.int64
    seen = [int(label) for _, labels in batches for label in labels]
    assert len(set(seen)) == len(seen)
    assert drop_last or sorted(seen) == list(range(45))


def test_every_image_is_transformed_under_its_own_seed(images: ImageSet) -> None:
    found = by_label(loader(images, workers=2).epoch(4))
    for index in range(45):
        torch.manual_seed(derive(3, "augment", 4, index))
        assert torch.equal(found[index], TRANSFORM(Image.fromarray(images[index])))


@pytest.mark.parametrize("changes", [{"batch_size": 5}, {"workers": 1}, {"workers": 2, "persistent_workers": True}])
def test_neither_workers_nor_batches_change_an_image(images: ImageSet, changes: dict[str, Any]) -> None:
    train = loader(images, **changes)
    for epoch in (1, 2):
        assert equal(by_label(train.epoch(epoch)), by_label(loader(images).epoch(epoch)))
    train.close()


def order(images: ImageSet, seed: int, epoch: int) -> list[int]:
    return [int(label) for _, labels in loader(images, seed=seed).epoch(epoch) for label in labels]


def test_order_depends_on_seed_and_epoch_alone(images: ImageSet) -> None:
    orders = [order(images, seed, epoch) for seed in (1, 2) for epoch in (1, 2)]
    assert all(sorted(one) == list(range(45)) for one in orders)
    assert len({tuple(one) for one in orders}) == 4
    assert order(images, 1, 2) == orders[1]


def test_the_order_is_fixed_for_good() -> None:
    words = np.random.PCG64(derive(0, "shuffle", 1)).random_raw(12)
    assert shuffled(0, 1, 12).tolist() == sorted(range(12), key=lambda index: words[index])
    assert shuffled(0, 1, 12).tolist() == [1, 0, 9, 8, 4, 6, 5, 10, 3, 7, 2, 11]


def test_an_image_differs_from_epoch_to_epoch(images: ImageSet) -> None:
    first, second = by_label(loader(images).epoch(1)), by_label(loader(images).epoch(2))
    assert sum(torch.equal(first[key], second[key]) for key in first) < 5


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_state_is_left_alone(images: ImageSet, workers: int) -> None:
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    drawn = [torch.rand(1)]
    train = loader(images, workers=workers, persistent_workers=True)
    for batch, _ in enumerate(train.epoch(1)):
        if batch in (1, 3):
            drawn.append(torch.rand(1))
    drawn.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn), expected)
    train.close()


def test_a_failing_transform_leaves_the_random_state_alone(images: ImageSet) -> None:
    def fails(_: Image.Image) -> Tensor:
        raise RuntimeError("no")

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        next(TrainLoader(images, fails, **OPTIONS).epoch(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_may_be_left_early(images: ImageSet, workers: int) -> None:
    train = loader(images, workers=workers, persistent_workers=True)
    next(train.epoch(1))
    assert equal(by_label(train.epoch(2)), by_label(loader(images).epoch(2)))
    train.close()


def children() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children()}


def test_persistent_workers_live_until_close(images: ImageSet) -> None:
    before = children()
    train = loader(images, workers=2, persistent_workers=True)
    list(train.epoch(1))
    workers = children() - before
    list(train.epoch(2))
    assert len(workers) == 2
    assert children() - before == workers
    train.close()
    assert children() == before
    train.close()


def test_other_workers_end_with_the_epoch(images: ImageSet) -> None:
    before = children()
    train = loader(images, workers=2)
    list(train.epoch(1))
    assert children() == before


def test_ctrl_c_is_left_to_the_main_process(images: ImageSet) -> None:
    before = children()
    train = loader(images, workers=2, persistent_workers=True)
    list(train.epoch(1))
    for worker in children() - before:
        assert worker is not None
        os.kill(worker, signal.SIGINT)
    assert equal(by_label(train.epoch(2)), by_label(loader(images).epoch(2)))
    train.close()


def test_workers_may_be_spawned(images: ImageSet) -> None:
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        spawned = by_label(loader(images, workers=1).epoch(1))
    finally:
        multiprocessing.set_start_method(method, force=True)
    assert equal(spawned, by_label(loader(images).epoch(1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 46}, "loader.batch_size=46 is more than the 45 training images"),
        (
            {"batch_size": 16, "accumulate": 3, "drop_last": True},
            "loader.batch_size=16 x optim.accumulate=3 is more than the 45 training images",
        ),
    ],
)
def test_a_batch_larger_than_the_data(images: ImageSet, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loader(images, **changes)


def test_a_step_larger_than_the_data_is_fine_where_nothing_is_dropped(images: ImageSet) -> None:
    assert loader(images, batch_size=16, accumulate=9).plan == [(16, 16, 13)]


@pytest.mark.parametrize("batch_size", [1, 20, 45, 100])
def test_evaluation_sees_all_images_in_order(images: ImageSet, batch_size: int) -> None:
    batches = list(eval_batches(images, MEAN, STD, batch_size))
    pixels, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = (images.gather(np.arange(45)) / 255 - np.array(MEAN)) / np.array(STD)
    assert labels.tolist() == list(range(45))
    assert (pixels.dtype, labels.dtype) == (torch.float32, torch.int64)
    np.testing.assert_allclose(pixels.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    assert all(len(part) <= batch_size for _, part in batches)


def test_evaluation_and_training_normalise_alike(images: ImageSet) -> None:
    plain = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    (pixels, _), *_ = eval_batches(images, MEAN, STD, 45)
    expected = torch.stack([plain(Image.fromarray(images[index])) for index in range(45)])
    torch.testing.assert_close(pixels, expected, rtol=1e-6, atol=1e-6)
