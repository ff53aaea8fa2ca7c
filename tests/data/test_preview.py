"""The preview of a loader: the start of the first epoch, made without side effects."""

import multiprocessing
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from wrnexp.augment import Augment
from wrnexp.data import Dataset, ResidentLoader, TrainLoader
from wrnexp.data.loaders import resident as resident_loading

Loader = TrainLoader | ResidentLoader
OPTIONS: dict[str, Any] = {"seed": 3, "device": "cpu", "accumulate": 2, "batch_size": 8, "drop_last": False}
WORKERS: dict[str, Any] = {"prefetch_factor": 2, "persistent_workers": False, "pin_memory": False}
KINDS: dict[str, Callable[..., Loader]] = {
    "in this process": partial(TrainLoader, workers=0, **WORKERS),
    "in workers": partial(TrainLoader, workers=2, **WORKERS),
    "torchvision": partial(TrainLoader, workers=0, backend="torchvision", **WORKERS),
    "resident": ResidentLoader,
}
MIXED: list[dict[str, Any]] = [{}, {"mixup": 0.4}, {"mixup": 0.2, "cutmix": 1.0}]


def epoch(loader: Loader, number: int) -> tuple[Tensor, Tensor]:
    images, labels = zip(*loader.epoch(number), strict=True)
    return torch.cat(images), torch.cat(labels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [13, 64])
def test_it_is_the_head_of_the_first_epoch(numbered: Dataset, recipe: Augment, kind: str, count: int) -> None:
    for changed in MIXED if kind != "torchvision" else [{}]:
        loader = KINDS[kind](numbered, replace(recipe, **changed), **OPTIONS)
        images, labels = loader.preview(count)
        assert len(images) == len(labels) == min(count, 45)
        for seen, expected in zip((images, labels), epoch(loader, 0), strict=True):
            assert torch.equal(seen, expected[:count])


@pytest.mark.parametrize("kind", KINDS)
def test_it_stops_where_the_epoch_stops(numbered: Dataset, recipe: Augment, kind: str) -> None:
    loader = KINDS[kind](numbered, recipe, **OPTIONS | {"drop_last": True})
    images, labels = loader.preview(64)
    assert len(images) == 32  # two whole steps of 16 of 45 images
    for seen, expected in zip((images, labels), epoch(loader, 0), strict=True):
        assert torch.equal(seen, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_each_of_several_processes_shows_the_head_of_all(numbered: Dataset, recipe: Augment, kind: str) -> None:
    whole = KINDS[kind](numbered, recipe, **OPTIONS).preview(20)
    for rank in range(2):
        part = KINDS[kind](numbered, recipe, rank=rank, ranks=2, **OPTIONS).preview(20)
        assert all(torch.equal(tensor, expected) for tensor, expected in zip(part, whole, strict=True))


def states() -> list[Any]:
    return [torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state())]  # noqa: NPY002


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_no_side_effects(numbered: Dataset, recipe: Augment, kind: str) -> None:
    loader, undisturbed = (KINDS[kind](numbered, recipe, **OPTIONS) for _ in range(2))
    before = states()
    loader.preview(16)
    assert multiprocessing.active_children() == []
    assert states() == before
    for number in (0, 1):
        for seen, expected in zip(epoch(loader, number), epoch(undisturbed, number), strict=True):
            assert torch.equal(seen, expected)


class Careless:
    """A custom augmentation that draws from all global random states."""

    lookahead = 0

    def batched(self, *_: Any) -> "Careless":
        return self

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> Callable[[Image.Image], Tensor]:
        return lambda image: self._add_noise(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))

    def pixels(self, images: Tensor, epoch: int, start: int) -> Tensor:
        return images

    def finish(self, images: Tensor, labels: Tensor, epoch: int, start: int) -> tuple[Tensor, Tensor]:
        return self._add_noise(images), labels

    def compile(self) -> None: ...

    def _add_noise(self, images: Tensor) -> Tensor:
        return images + torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize("kind", KINDS)
def test_nor_with_an_augmentation_that_draws_from_global_states(numbered: Dataset, kind: str) -> None:
    loader = KINDS[kind](numbered, Careless(), **OPTIONS)
    before = states()
    first, second = loader.preview(4)[0], loader.preview(4)[0]
    assert states() == before
    assert torch.equal(first, second)
    Careless()._add_noise(torch.zeros(1))
    assert states()[1:] != before[1:]  # otherwise the test would prove nothing


def test_the_resident_loader_sends_nothing_to_its_device(
    numbered: Dataset, recipe: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(*_: Any) -> Tensor:
        raise AssertionError("something was sent to the device")

    loader = ResidentLoader(numbered, recipe, **OPTIONS | {"device": "meta"})
    expected = ResidentLoader(numbered, recipe, **OPTIONS).preview(9)
    monkeypatch.setattr(resident_loading, "to_device", sent)
    images, labels = loader.preview(9)
    assert (images.device.type, labels.device.type) == ("cpu", "cpu")
    assert torch.equal(images, expected[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none")
@pytest.mark.parametrize("kind", ["in this process", "resident"])
def test_on_a_gpu_it_is_what_training_sees_up_to_rounding(numbered: Dataset, recipe: Augment, kind: str) -> None:
    loader = KINDS[kind](numbered, recipe, **OPTIONS | {"device": "cuda"}, compile=True)
    allocated = torch.cuda.memory_allocated()
    images, labels = loader.preview(45)
    assert torch.cuda.memory_allocated() == allocated
    seen, expected = epoch(loader, 0)
    assert torch.equal(labels, expected.cpu())
    assert torch.allclose(images, seen.cpu(), atol=1e-5)
