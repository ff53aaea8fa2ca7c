"""A training step as a GPU would take it, seen without one: on fake tensors, as a graph, and its backward pass.

`make torch-min` runs these with the lowest torch that pyproject.toml allows.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.debugging import aot_eager_decomp_partition
from torch.nn import functional as F

from tests.fake_cuda import CUDA, fake_cuda, recorded_graphs
from wrnexp.engine import Hardware
from wrnexp.engine.memory import budgeted
from wrnexp.engine.meters import Meters
from wrnexp.engine.step import TrainStep
from wrnexp.models import WideResNet
from wrnexp.optim import SGDRecipe, averaged

CLASSES = 100
NETS = {"base": (28, 10, 0.3, 0.0, CLASSES), "light": (16, 8, 0.25, 0.1, CLASSES)}
SMALL = (10, 1, 0.25, 0.1, CLASSES)
EMA = 0.999
Make = Callable[..., SGDRecipe]


def batch_of(size: int, *, mixed: bool) -> tuple[Tensor, Tensor]:
    """Images and labels as a loader on the CPU gives them."""
    return torch.zeros(size, 3, 32, 32), torch.zeros(size, CLASSES) if mixed else torch.zeros(size, dtype=torch.int64)


@pytest.mark.parametrize(
    ("name", "batch", "budget", "compile", "ema", "mixed"),
    [
        ("base", 128, 1.0, True, None, False),
        ("base", 128, 0.8, False, EMA, True),
        ("base", 512, 1.0, False, EMA, False),
        ("light", 512, 0.8, True, EMA, True),
        ("light", 512, 1.0, False, None, True),
        ("light", 128, 0.8, False, None, False),
    ],
)
def test_steps_are_on_the_device_and_one_graph(
    recipe: Make, name: str, batch: int, budget: float, compile: bool, ema: float | None, mixed: bool
) -> None:
    hardware = Hardware(CUDA, bf16=True, channels_last=True, compile=compile)
    model = WideResNet(*NETS[name])
    with fake_cuda() as mode, recorded_graphs() as graphs, mode:
        step = TrainStep(model, recipe(clip_norm=0.5), partial(averaged, decay=ema), hardware, budget)
        given, meters = batch_of(batch, mixed=mixed), Meters(CUDA)
        for _ in range(2):
            step([given, given], [batch, batch], 0.1, meters)
        with hardware.autocast():
            logits = step.average.model(hardware.batch(*given)[0])
    assert (logits.device, logits.dtype, logits.shape) == (CUDA, torch.bfloat16, (batch, CLASSES))
    tensors = [*step.model.state_dict().values(), *step.average.model.state_dict().values()]
    assert {tensor.device for tensor in tensors} == {CUDA}
    assert len(graphs) == compile


@pytest.mark.parametrize(
    ("net", "batch", "budget", "compile"),
    [
        (NETS["base"], 128, 1.0, False),
        (NETS["light"], 512, 0.8, False),
        (SMALL, 128, 1.0, True),
        (SMALL, 512, 0.8, True),
    ],
    ids=["base", "light", "compiled", "compiled-0.8"],
)
def test_backward_passes_need_no_numbers(
    recipe: Make, net: tuple[Any, ...], batch: int, budget: float, compile: bool
) -> None:
    """Autograd runs on meta tensors, which have no numbers; torch's partitioner decides what is recomputed."""
    meta = torch.device("meta")
    hardware = Hardware(meta, bf16=False, channels_last=True, compile=compile)
    with recorded_graphs(aot_eager_decomp_partition) as graphs:
        step = TrainStep(WideResNet(*net), recipe(clip_norm=0.5), partial(averaged, decay=EMA), hardware, budget)
        given, meters = batch_of(batch, mixed=True), Meters(meta)
        for _ in range(2):
            step([given, given], [batch, batch], 0.1, meters)
    assert (meters.steps, meters.images) == (2, 4 * batch)
    assert len(graphs) == compile
    assert {state["momentum_buffer"].device for state in step.optimizer.state.values()} == {meta}


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1.0, 0.8])
def test_inductors_gradients_are_eagers(budget: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing comes from an earlier compilation
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 8, 8), torch.randint(CLASSES, (16,))
    models = [WideResNet(10, 1, 0.0, 0.0, CLASSES) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, compile in zip(models, (False, True), strict=True):
        hardware = Hardware(torch.device("cpu"), bf16=False, channels_last=True, compile=compile)
        with hardware.settings():
            forward = budgeted(hardware.to_device(model), budget, hardware)
            torch.autograd.backward(F.cross_entropy(forward(hardware.batch(images, labels)[0]), labels))
    for expected, parameter in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-4, atol=1e-5)
