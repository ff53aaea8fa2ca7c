import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wrnexp.optim import Cosine, SGDRecipe

RECIPE = SGDRecipe(
    epochs=3,
    lr=0.05,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-2,
    decay_norm_and_bias=False,
    label_smoothing=0.1,
    accumulate=2,
    clip_norm=None,
    schedule=Cosine(warmup_epochs=1),
)


def network(memory_format: torch.memory_format = torch.contiguous_format) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 5)]
    return nn.Sequential(*layers).to(memory_format=memory_format)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(6, 3, 8, 8, generator=generator), torch.randint(5, (6,), generator=generator))
        for _ in range(count)
    ]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, data: list[tuple[Tensor, Tensor]]) -> None:
    for images, labels in data:
        optimizer.zero_grad(set_to_none=True)
        (RECIPE.loss(model(images), labels) / len(labels)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def assert_same_weights(model: nn.Module, other: nn.Module) -> None:
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("nesterov", [True, False])
def test_optimizer_is_sgd_by_definition(nesterov: bool) -> None:
    model = network()
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    momenta = [torch.zeros_like(weight) for weight in weights]
    optimizer = replace(RECIPE, nesterov=nesterov).optimizer(model)
    for batch in batches(4):
        train(model, optimizer, [batch])
        for weight, momentum, parameter in zip(weights, momenta, model.parameters(), strict=True):
            assert parameter.grad is not None
            gradient = parameter.grad + (1e-2 if weight.ndim > 1 else 0.0) * weight
            momentum.mul_(0.9).add_(gradient)
            weight -= 0.05 * (gradient + 0.9 * momentum if nesterov else momentum)
    for weight, parameter in zip(weights, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.detach(), weight)


def test_every_parameter_decays_where_the_recipe_says_so() -> None:
    model = network()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = replace(RECIPE, decay_norm_and_bias=True, momentum=0.0, nesterov=False).optimizer(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for old, parameter in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.detach(), old * (1 - 0.05 * 1e-2))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_fused_kernel_trains_as_the_plain_one(memory_format: torch.memory_format) -> None:
    fused, plain = network(memory_format), network(memory_format)
    optimizer = RECIPE.optimizer(fused)
    assert optimizer.defaults["fused"]
    parameters = list(plain.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [parameters[0], parameters[3]]},
        {"params": [parameters[i] for i in (1, 2, 4)], "weight_decay": 0.0},
    ]
    unfused = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2, foreach=False)
    with torch.autocast("cpu", torch.bfloat16):
        train(fused, optimizer, batches(3))
        train(plain, unfused, batches(3))
    assert_same_weights(fused, plain)
    for parameter in fused.parameters():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride() == optimizer.state[parameter]["momentum_buffer"].stride()


def test_training_resumes_from_a_state_of_another_memory_format() -> None:
    data = batches(6)
    straight = network()
    train(straight, RECIPE.optimizer(straight), data)
    first = network()
    optimizer = RECIPE.optimizer(first)
    train(first, optimizer, data[:3])
    file = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second = network(torch.channels_last)
    optimizer = RECIPE.optimizer(second)
    second.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    train(second, optimizer, data[3:])
    assert_same_weights(second, straight)


def test_learning_rate_is_the_peak_times_the_schedule() -> None:
    assert [RECIPE.learning_rate(step, 2) for step in range(3)] == pytest.approx([0.025, 0.05, 0.05])
    assert RECIPE.learning_rate(4, 2) == pytest.approx(0.025)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.15])
def test_loss_is_the_sum_of_smoothed_cross_entropies(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(9, 7), torch.randint(7, (9,))
    expected = 0.0
    for row, label in zip(logits.double(), labels, strict=True):
        probabilities = row.exp() / row.exp().sum()
        target = torch.full((7,), smoothing / 7, dtype=torch.float64)
        target[label] += 1 - smoothing
        expected -= float((target * probabilities.log()).sum())
    recipe = replace(RECIPE, label_smoothing=smoothing)
    assert float(recipe.loss(logits, labels)) == pytest.approx(expected, rel=1e-5)
    one_hot = torch.nn.functional.one_hot(labels, 7).float()
    assert float(recipe.loss(logits, one_hot)) == pytest.approx(expected, rel=1e-5)


def test_loss_is_taken_in_float32() -> None:
    logits = (10 * torch.randn(64, 100)).bfloat16()
    labels = torch.randint(100, (64,))
    with torch.autocast("cpu", torch.bfloat16):
        loss = RECIPE.loss(logits, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, RECIPE.loss(logits.float(), labels))


def test_micro_batches_sum_to_the_whole_step() -> None:
    whole = network().eval()
    split = copy.deepcopy(whole)
    ((images, labels),) = batches(1)
    (RECIPE.loss(whole(images), labels) / 6).backward()  # type: ignore[no-untyped-call]
    for part in (slice(0, 4), slice(4, 6)):
        (RECIPE.loss(split(images[part]), labels[part]) / 6).backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_recipe_is_a_value() -> None:
    assert replace(RECIPE) == RECIPE
    with pytest.raises(AttributeError):
        RECIPE.lr = 1.0  # type: ignore[misc]
