"""Augmentation on a GPU, tested without one: on fake tensors, as graphs, and kernel by kernel through Inductor.

`make torch-min` runs these with the lowest torch that pyproject.toml allows.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.fake_cuda import CUDA, fake_cuda, recorded_graphs
from wrnexp.augment.geometry import crop_and_flip
from wrnexp.augment.operations import LEVELS, NUMBERS, OpSpec, kernels
from wrnexp.cli.bench.recipes import CLASSES, SIDE, dataset, recipe
from wrnexp.data import ResidentLoader, TrainLoader

MEAN, STD = (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)
MIXED = {"mixup": 0.2, "cutmix": 1.0, "cutout": 8}


def test_g1_recipes_are_one_graph_at_their_first_batch(tmp_path: Path) -> None:
    """Dynamo of torch 2.11 cannot trace `copy.copy`: a device's tables are made before the compiled call."""
    images = torch.zeros(64, 3, SIDE, SIDE, dtype=torch.uint8, device="meta")
    augment = recipe("base").batched(SIDE, MEAN, STD, CLASSES, 0)
    with recorded_graphs() as graphs:
        augment.compile()
        assert augment.pixels(images, 0, 0).shape == images.shape
    assert len(graphs) == 1
    with fake_cuda() as mode, recorded_graphs() as graphs:
        loader = ResidentLoader(
            dataset(tmp_path, 1024), recipe("light"), device="cuda", compile=True, accumulate=1, seed=0,
            batch_size=512, drop_last=True,
        )  # fmt: skip
        with mode:
            batches = list(loader.epoch(0))
    assert_on_cuda(batches, [512, 512], mixed=False)
    assert len(graphs) == 1


@pytest.mark.parametrize("changes", [{}, MIXED], ids=["plain", "mixed"])
@pytest.mark.parametrize(("name", "batch"), [("base", 128), ("base", 512), ("light", 128), ("light", 512)])
class TestBatchesOfADevice:
    def test_resident(self, name: str, batch: int, changes: dict[str, Any], tmp_path: Path) -> None:
        with fake_cuda() as mode:
            loader = ResidentLoader(
                dataset(tmp_path, batch + 20), replace(recipe(name), **changes), device="cuda", accumulate=1, seed=0,
                batch_size=batch, drop_last=False,
            )  # fmt: skip
            with mode:
                batches = list(loader.epoch(0))
        assert_on_cuda(batches, [batch, 20], mixed=bool(changes))

    def test_from_workers(
        self, name: str, batch: int, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Workers send real bytes; the main process works on fake tensors."""
        loader = TrainLoader(
            dataset(tmp_path, batch + 20), replace(recipe(name), **changes), device="cuda", accumulate=1, seed=0,
            batch_size=batch, drop_last=False, workers=0, prefetch_factor=1, persistent_workers=False, pin_memory=True,
        )  # fmt: skip
        with fake_cuda() as mode:
            finish = loader._finish_on_device

            def in_mode(*batch: Any) -> tuple[Tensor, Tensor]:
                with mode:
                    return finish(*batch)

            monkeypatch.setattr(loader, "_finish_on_device", in_mode)
            batches = list(loader.epoch(0))
        assert_on_cuda(batches, [batch, 20], mixed=bool(changes))


def assert_on_cuda(batches: list[tuple[Tensor, Tensor]], sizes: list[int], *, mixed: bool) -> None:
    assert [len(images) for images, _ in batches] == sizes
    for images, labels in batches:
        assert (images.device, images.dtype, images.shape[1:]) == (CUDA, torch.float32, (3, SIDE, SIDE))
        assert labels.device == CUDA
        assert (labels.dtype, labels.ndim) == ((torch.float32, 2) if mixed else (torch.int64, 1))


def test_tensors_of_two_devices_are_refused() -> None:
    """Otherwise the traces above could not fail."""
    with fake_cuda() as mode, mode, pytest.raises(RuntimeError, match="device"):
        torch.zeros(3, device="cuda") + torch.zeros(3)


MOVES = [OpSpec("rotate", 20.0), OpSpec("shear_x", 0.2), OpSpec("translate_y", -3.0)]
COUNT = 18


def pictures() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (COUNT, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def strengths(name: str) -> Tensor:
    """Return a valid strength for each picture, see `OpSpec`."""
    match name:
        case "posterize":
            return (torch.arange(COUNT) % 9).float()
        case "move":
            return (torch.arange(COUNT) % len(MOVES)).float()
        case "hue":
            return torch.linspace(-0.5, 0.5, COUNT)
        case _:
            return torch.linspace(0, 1.5 if name in ("brightness", "contrast", "saturation", "sharpness") else 1, COUNT)


def assert_inductor_agrees(function: Callable[..., Tensor], *arguments: Any, levels: int = 0) -> None:
    """Compile for the CPU as `BatchAugment` does for a GPU; bytes may differ by `levels` because of rounding."""
    torch.compiler.reset()
    expected = function(*arguments)
    compiled = torch.compile(function, fullgraph=True, dynamic=False)(*arguments)
    if compiled.is_floating_point():
        torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=1e-5)
    else:
        assert int((compiled.int() - expected.int()).abs().max()) <= levels
        assert (compiled == expected).double().mean() > 0.99


@pytest.fixture
def _cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an empty compilation cache."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("_cold")
def test_g2_solarize_compiles() -> None:
    """Inductor of torch 2.11 cannot `view` a bool tensor as bytes."""
    assert_inductor_agrees(LEVELS["solarize"], pictures(), strengths("solarize"))


# Operations that round floats to levels; the others are exact.
ROUNDED = {"contrast", "saturation", "hue", "sharpness", "autocontrast"}


@pytest.mark.slow
@pytest.mark.usefixtures("_cold")
@pytest.mark.parametrize("name", sorted(NUMBERS.keys() - {"solarize"}))
def test_every_other_operation_compiles(name: str) -> None:
    kernel = kernels(MOVES, SIDE, SIDE)[NUMBERS[name]]
    assert_inductor_agrees(kernel, pictures(), strengths(name), levels=int(name in ROUNDED))


@pytest.mark.slow
@pytest.mark.usefixtures("_cold")
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_crop_and_flip_compiles(mode: str) -> None:
    y, x, flip = (torch.arange(COUNT) * 5 % 9, torch.arange(COUNT) * 7 % 9, torch.arange(COUNT) % 2)
    assert_inductor_agrees(crop_and_flip, pictures(), y, x, flip, 4, mode)
