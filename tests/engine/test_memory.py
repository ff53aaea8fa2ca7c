"""The memory budget: what is kept, that training stays the same bit for bit, and what is said where memory runs out."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config

from wrnexp.engine import Hardware
from wrnexp.engine.memory import Budgeted, SavedTensors, budgeted, out_of_memory, saved_for_backward
from wrnexp.engine.meters import Meters
from wrnexp.engine.step import TrainStep
from wrnexp.errors import TrainingError, UserError
from wrnexp.models import WideResNet
from wrnexp.optim import averaged

Make = Callable[..., Any]
EAGER = Hardware.settle("cpu", "fp32", compile=False)

# torch 2.11 uses, on importing its compiler, what it warns of itself.
OLD_WORDS = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


def test_saved_bytes_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 5))
    images = torch.randn(2, 3, 8, 8)
    # ReLU and the linear layer both keep ReLU's output, once; the convolution keeps the images, which do not count.
    assert saved_for_backward(model, model, images) == SavedTensors(activations=2 * 4 * 64 * 4, weights=0)
    with torch.autocast("cpu", torch.bfloat16):
        found = saved_for_backward(model, model, images)
    # In bfloat16: the images' copy and ReLU's output; copies of both weights, the linear one's transposed.
    assert found == SavedTensors(activations=2 * (3 + 4) * 64 * 2, weights=(4 * 27 + 4 * 64 * 5) * 2)
    with torch.no_grad():
        assert saved_for_backward(model, model, images) == SavedTensors(0, 0)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("bf16", [False, True])
def test_light_keeps_half_of_its_activations_at_budget_08(bf16: bool, dropout: float) -> None:
    side = 16 if bf16 else 32  # a processor that has no bfloat16 takes ten times as long; all is in proportion to it
    images = torch.randn(1, 3, side, side)
    found = {}
    for budget in (1.0, 0.8, 0.25, 0.01):
        model = WideResNet(16, 8, dropout, dropout and 0.1, num_classes=100)
        forward = budgeted(model, budget, EAGER)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            found[budget] = saved_for_backward(model, forward, images).activations
        told = model.set_activation_budget(budget)
        assert found[budget] / found[1.0] == pytest.approx(told, rel=0.01)
    assert found[0.8] <= 0.52 * found[1.0]
    assert found[0.25] <= (0.25 if dropout else 0.26) * found[1.0]
    if not dropout:
        # REFERENCE figures of this net in bf16: 3.57 MiB an image, 1.79 where norms and ReLUs are recomputed.
        mebibytes, full = 2**20 * (side / 32) ** 2, 3.57 if bf16 else 7.14
        assert found[1.0] / mebibytes == pytest.approx(full, rel=0.01)
        assert found[0.8] / mebibytes == pytest.approx(full / 2, rel=0.01)


def training(budget: float, recipe: Make, steps: int = 3) -> tuple[list[float], dict[str, Tensor]]:
    """Take steps as light does (two micro-batches, clipping, dropout); return their losses and all that is left."""
    torch.manual_seed(0)
    model = WideResNet(16, 1, 0.25, 0.1, num_classes=5)
    hardware = Hardware.settle("cpu", "fp32", channels_last=True, compile=False)
    light = recipe(clip_norm=0.5, label_smoothing=0.15, weight_decay=1e-4)
    step = TrainStep(model, light, partial(averaged, decay=0.9), hardware, budget)
    step.model.train()
    losses = []
    for index in range(steps):
        micro_batches = [(torch.randn(4, 3, 16, 16), torch.randint(5, (4,))) for _ in range(2)]
        meters = Meters(hardware.device)
        step(micro_batches, [4, 4], 0.1, meters)
        losses.append(meters.read()["train_loss"])
        assert meters.read()["clipped"] == 1.0, index
    momentum = {
        f"momentum {index}": one["momentum_buffer"] for index, one in step.state_dict()["optimizer"]["state"].items()
    }
    average = {f"average {name}": value for name, value in step.average.model.state_dict().items()}
    return losses, {**model.state_dict(), **momentum, **average, "generator": torch.get_rng_state()}


@pytest.mark.parametrize("budget", [0.8, 0.25, 0.01])
def test_every_loss_and_all_that_training_leaves_is_the_same_bit_for_bit(recipe: Make, budget: float) -> None:
    losses, state = training(1.0, recipe)
    found, left = training(budget, recipe)
    assert found == losses
    assert len(set(losses)) == len(losses)
    assert left.keys() == state.keys()
    assert [name for name, value in state.items() if not torch.equal(value, left[name])] == []


def test_budget_1_is_the_model_itself() -> None:
    model = nn.Linear(2, 2)
    assert budgeted(model, 1.0, EAGER) is model


def test_a_model_that_cannot_recompute_is_told_what_to_do(trainer: Make) -> None:
    foreign = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))
    words = (
        r"trainer\.memory_budget=0\.5: Sequential .* keep\(share\).*trainer\.compile=true or trainer\.memory_budget=1"
    )
    with pytest.raises(UserError, match=words):
        trainer(model=foreign, memory_budget=0.5)
    trainer(model=foreign, memory_budget=1.0)


def norms_and_relus() -> nn.Module:
    torch.manual_seed(0)
    layers = [(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False)) for _ in range(3)]
    return nn.Sequential(nn.Conv2d(3, 8, 1), *(layer for group in layers for layer in group))


@OLD_WORDS
def test_a_compiled_net_is_partitioned_within_its_budget_and_only_there() -> None:
    images = torch.randn(16, 3, 16, 16)
    found = {}
    for budget in (1.0, 0.5, 0.2):  # the same net each time: graphs must not be shared between budgets
        model = norms_and_relus()
        forward = torch.compile(model, backend=Budgeted(budget, "aot_eager_decomp_partition"), fullgraph=True)
        found[budget] = saved_for_backward(model, forward, images).activations
        assert functorch_config.activation_memory_budget == 1.0
    assert found[0.5] <= 0.6 * found[1.0]
    assert found[0.2] < found[0.5]


def test_the_budget_is_in_force_while_a_graph_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compiler(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        seen.append(functorch_config.activation_memory_budget)
        if len(seen) == 2:
            raise RuntimeError("cannot")
        return graph.forward

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: compiler)
    model = nn.Linear(3, 2)
    forward = budgeted(model, 0.3, replace(EAGER, compile=True))
    torch.testing.assert_close(forward(torch.ones(2, 3)), model(torch.ones(2, 3)))
    with pytest.raises(Exception, match="cannot"):
        forward(torch.ones(2, 3, requires_grad=True))  # another graph
    assert seen == [0.3, 0.3]
    assert functorch_config.activation_memory_budget == 1.0


def test_the_mode_of_a_compilation_reaches_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def compiler(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: Any) -> Callable[..., Any]:
        seen.append(options)
        return graph.forward

    monkeypatch.setattr(torch._dynamo, "lookup_backend", lambda name: compiler)
    torch.compile(nn.Linear(3, 2), backend=Budgeted(0.3), mode="reduce-overhead", dynamic=False)(torch.ones(2, 3))
    assert seen == [{"config_patches": {"triton.cudagraphs": True}}]


@OLD_WORDS
@pytest.mark.slow
def test_inductor_keeps_what_the_budget_says(recipe: Make) -> None:
    images = torch.randn(64, 3, 32, 32)
    found = {}
    for budget in (1.0, 0.8, 0.25):
        torch.manual_seed(0)
        hardware = Hardware.settle("cpu", "fp32", channels_last=False, compile=True)
        model = WideResNet(10, 1, 0.0, 0.0, 10)
        step = TrainStep(model, recipe(), partial(averaged, decay=None), hardware, budget)
        step([(images, torch.zeros(64, dtype=torch.int64))], [64], 0.1, Meters(hardware.device))
        found[budget] = saved_for_backward(step.model, step.forward, images).activations
    assert found[0.8] <= 0.55 * found[1.0]
    assert found[0.25] <= 0.27 * found[1.0]
    assert functorch_config.activation_memory_budget == 1.0


def starve(trainer: Any, after: int) -> None:
    """Let the trainer's loss ask for more memory than there is, from call `after` on."""
    calls = iter(range(10**6))
    healthy = type(trainer.recipe).loss

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if next(calls) >= after:
            torch.empty(1 << 50)
        found: Tensor = healthy(trainer.recipe, logits, targets)
        return found

    object.__setattr__(trainer.recipe, "loss", loss)


def test_a_lack_of_memory_is_told_with_what_to_lower_and_the_run_goes_on(trainer: Make, tmp_path: Path) -> None:
    whole = trainer(dropout=0.3, folder=tmp_path / "whole")
    expected = whole.fit()
    poor = trainer(dropout=0.3)
    starve(poor, after=10)  # 7 micro-batches an epoch: in the second epoch
    words = (
        r"out of memory .*lower trainer\.memory_budget, now 1 .*last checkpoint.*loader\.batch_size.*optim\.accumulate"
    )
    with pytest.raises(TrainingError, match=words) as told:
        poor.fit()
    assert told.value.__cause__ is told.value.__context__ is None  # nothing holds on to the activations
    assert "\n" not in str(told.value)
    again = trainer(dropout=0.3, memory_budget=0.3)
    outcome = again.fit()
    assert again.watcher.steps[0] == (1, 1)
    assert [row["train_loss"] for row in outcome.rows] == [row["train_loss"] for row in expected.rows]
    for name, value in whole.step.model.state_dict().items():
        assert torch.equal(value, again.step.model.state_dict()[name]), name


def test_another_error_stays_what_it_is(trainer: Make) -> None:
    broken = trainer()
    object.__setattr__(broken.recipe, "loss", lambda logits, targets: logits.reshape(3, 1, 4))
    with pytest.raises(RuntimeError, match="shape"):
        broken.fit()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_the_words_of_every_allocator(error: Exception) -> None:
    told = out_of_memory(error, 0.8)
    assert told is not None
    assert "now 0.8" in told
    assert "\n" not in told
    assert out_of_memory(ValueError("shape"), 0.8) is None
