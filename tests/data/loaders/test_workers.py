import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from wrnexp.augment import Augment
from wrnexp.data import Dataset, ResidentLoader, TrainLoader
from wrnexp.data.loaders.epochs import shuffled
from wrnexp.data.loaders.tensors import labelled
from wrnexp.errors import UserError
from wrnexp.seeding import derive
from wrnexp.tensors import step_plan

Make = Callable[..., TrainLoader]
OPTIONS: dict[str, Any] = {
    "seed": 3, "batch_size": 8, "workers": 0, "prefetch_factor": 2, "drop_last": False, "persistent_workers": False,
    "pin_memory": True, "accumulate": 2, "device": "cpu",
}  # fmt: skip


@pytest.fixture
def loader(numbered: Dataset, recipe: Augment) -> Make:
    """Return a function that makes a loader of the numbered images with the light recipe."""

    def make(**changes: Any) -> TrainLoader:
        return TrainLoader(numbered, changes.pop("augment", recipe), **{**OPTIONS, **changes})

    return make


def concatenate(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the batches of an epoch as one."""
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def equal(epoch: Iterator[tuple[Tensor, Tensor]], other: Iterator[tuple[Tensor, Tensor]]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(concatenate(epoch), concatenate(other), strict=True))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_follows_its_plan(loader: Make, drop_last: bool, workers: int) -> None:
    train = loader(drop_last=drop_last, workers=workers)
    batches = list(train.epoch(1))
    assert train.plan == step_plan(45, 8, 2, drop_last=drop_last)
    assert [len(labels) for _, labels in batches] == [size for step in train.plan for size in step]
    for pixels, labels in batches:
        assert (pixels.shape, pixels.dtype) == ((len(labels), 3, 32, 32), torch.float32)
        assert labels.dtype == torch.int64
    seen = [int(label) for _, labels in batches for label in labels]
    assert len(set(seen)) == len(seen)
    assert drop_last or sorted(seen) == list(range(45))


def test_an_image_is_augmented_by_its_position(loader: Make, numbered: Dataset, recipe: Augment) -> None:
    augment = recipe.batched(32, numbered.mean, numbered.std, 45, 3)
    images, labels = concatenate(loader(workers=2).epoch(4))
    order = shuffled(3, 4, 45)
    assert labels.tolist() == order.tolist()
    for position in range(45):
        image, label = labelled(numbered.train, order[position : position + 1])
        expected, _ = augment.finish(augment.pixels(image, 4, position), label, 4, position)
        assert torch.equal(images[position], expected[0])


RECIPES: list[dict[str, Any]] = [
    {}, {"policy": "autoaugment", "cutout": 8}, {"policy": "trivialaugment", "padding_mode": "reflect"},
    {"mixup": 0.4}, {"mixup": 0.2, "cutmix": 1.0},
]  # fmt: skip
CHANGES: list[dict[str, Any]] = [
    {"batch_size": 5}, {"batch_size": 45}, {"workers": 1}, {"workers": 2, "persistent_workers": True, "batch_size": 3},
]  # fmt: skip


@pytest.mark.parametrize("changed", RECIPES)
@pytest.mark.parametrize("changes", CHANGES)
def test_neither_workers_nor_batches_change_an_image(
    loader: Make, recipe: Augment, changes: dict[str, Any], changed: dict[str, Any]
) -> None:
    augment = replace(recipe, **changed)
    train = loader(augment=augment, **changes)
    for epoch in (1, 2):
        assert equal(train.epoch(epoch), loader(augment=augment).epoch(epoch))
    train.close()


@pytest.mark.parametrize("changed", RECIPES)
@pytest.mark.parametrize("batch_size", [7, 45])
def test_the_resident_loader_gives_the_same(
    loader: Make, numbered: Dataset, recipe: Augment, changed: dict[str, Any], batch_size: int
) -> None:
    augment = replace(recipe, **changed)
    resident = ResidentLoader(
        numbered, augment, device="cpu", accumulate=1, seed=3, batch_size=batch_size, drop_last=False
    )
    for epoch in (1, 2, 1):
        assert equal(resident.epoch(epoch), loader(augment=augment).epoch(epoch))
    resident.close()
    assert equal(resident.epoch(2), loader(augment=augment).epoch(2))


def test_torchvision_draws_under_the_seed_of_each_image(loader: Make, numbered: Dataset, recipe: Augment) -> None:
    transform = recipe.per_image(32, numbered.mean, numbered.std)
    images, labels = concatenate(loader(backend="torchvision", workers=2).epoch(4))
    for image, index in zip(images, labels.tolist(), strict=True):
        torch.manual_seed(derive(3, "augment", 4, index))
        assert torch.equal(image, transform(Image.fromarray(numbered.train[index])))
    assert labels.tolist() == concatenate(loader().epoch(4))[1].tolist()


def order(loader: Make, seed: int, epoch: int) -> list[int]:
    return [int(label) for _, labels in loader(seed=seed).epoch(epoch) for label in labels]


def test_order_depends_on_seed_and_epoch_alone(loader: Make) -> None:
    orders = [order(loader, seed, epoch) for seed in (1, 2) for epoch in (1, 2)]
    assert all(sorted(labels) == list(range(45)) for labels in orders)
    assert len({tuple(labels) for labels in orders}) == 4
    assert order(loader, 1, 2) == orders[1]


def test_an_image_differs_from_epoch_to_epoch(loader: Make) -> None:
    (first, order), (second, other) = concatenate(loader().epoch(1)), concatenate(loader().epoch(2))
    same = [torch.equal(first[i], second[j]) for i, j in zip(order.argsort(), other.argsort(), strict=True)]
    assert sum(same) < 5


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_state_is_left_alone(loader: Make, workers: int) -> None:
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    drawn = [torch.rand(1)]
    train = loader(workers=workers, persistent_workers=True)
    for batch, _ in enumerate(train.epoch(1)):
        if batch in (1, 3):
            drawn.append(torch.rand(1))
    drawn.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn), expected)
    train.close()


def test_a_failing_transform_leaves_the_random_state_alone(loader: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Image.Image) -> Tensor:
        raise RuntimeError("no")

    monkeypatch.setattr(Augment, "per_image", lambda *arguments: fails)

    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        next(loader(backend="torchvision").epoch(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_may_be_left_early(loader: Make, workers: int) -> None:
    train = loader(workers=workers, persistent_workers=True)
    next(train.epoch(1))
    assert equal(train.epoch(2), loader().epoch(2))
    train.close()


def children() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children()}


def test_persistent_workers_live_until_close(loader: Make) -> None:
    before = children()
    train = loader(workers=2, persistent_workers=True)
    list(train.epoch(1))
    workers = children() - before
    list(train.epoch(2))
    assert len(workers) == 2
    assert children() - before == workers
    train.close()
    assert children() == before
    train.close()


def test_other_workers_end_with_the_epoch(loader: Make) -> None:
    before = children()
    train = loader(workers=2)
    list(train.epoch(1))
    assert children() == before


def test_ctrl_c_is_left_to_the_main_process(loader: Make) -> None:
    before = children()
    train = loader(workers=2, persistent_workers=True)
    list(train.epoch(1))
    for worker in children() - before:
        assert worker is not None
        os.kill(worker, signal.SIGINT)
    assert equal(train.epoch(2), loader().epoch(2))
    train.close()


def test_workers_may_be_spawned(loader: Make) -> None:
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        spawned = list(loader(workers=1).epoch(1))
    finally:
        multiprocessing.set_start_method(method, force=True)
    assert equal(iter(spawned), loader().epoch(1))


@pytest.mark.parametrize("kind", [TrainLoader, ResidentLoader])
def test_an_augmentation_without_batches_is_refused(numbered: Dataset, kind: type[TrainLoader]) -> None:
    class Old:
        def per_image(self, size: int, mean: object, std: object) -> None: ...

    with pytest.raises(UserError, match=r"Old has no method batched\(.*loader.backend=torchvision"):
        kind(numbered, Old(), **OPTIONS)  # type: ignore[arg-type]
