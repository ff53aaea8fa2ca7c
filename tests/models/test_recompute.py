"""Recomputation: which activations are saved, what is computed twice, and that nothing else changes."""

import copy
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wrnexp.models import WideResNet, multiply_adds
from wrnexp.models.recompute import Saved, SavedSizes, choose, rebuilt

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(5))
LEAST = 1e-6


class Convolutions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the forward convolutions that run, by kernel size."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = {1: 0, 3: 0}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.counts[args[1].shape[-1]] += 1
        return func(*args, **kwargs or {})


def network(share: float, depth: int = 16, dropout: float = 0.3) -> WideResNet:
    torch.manual_seed(0)
    model = WideResNet(depth, 1, dropout, dropout and 0.1, num_classes=7)
    model.set_activation_budget(share)
    torch.manual_seed(1)
    return model


def full_state(model: WideResNet) -> dict[str, Tensor]:
    """Return all state after a step: weights, statistics, counters, gradients, random state."""
    named = model.named_parameters()
    gradients = {f"gradient of {name}": weight.grad for name, weight in named if weight.grad is not None}
    return {**model.state_dict(), **gradients, "generator": torch.get_rng_state()}


def assert_same(expected: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    assert expected.keys() == state.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, state[name])] == []


@pytest.mark.parametrize("share", [0.99, 0.22, LEAST])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bf16", [False, True])
def test_the_state_after_a_step_is_the_same_bit_for_bit(
    share: float, dropout: float, layout: torch.memory_format, bf16: bool
) -> None:
    states = []
    for budget in (1.0, share):
        model = network(budget, dropout=dropout).to(memory_format=layout)
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(IMAGES.contiguous(memory_format=layout))
            logits.float().square().sum().backward()
        states.append(full_state(model) | {"logits": logits})
    assert_same(states[0], states[1])
    assert states[0]["norm.num_batches_tracked"] == 2


def run(share: float, depth: int = 16) -> dict[int, int]:
    model = network(share, depth)
    with Convolutions() as convolutions:
        model(IMAGES).sum().backward()
    counts: dict[int, int] = convolutions.counts
    return counts


def test_no_3x3_convolution_runs_twice_where_only_norms_and_relus_are_recomputed() -> None:
    assert run(1.0) == {1: 2, 3: 13}
    assert run(0.99) == {1: 4, 3: 13}


def test_at_the_least_each_first_convolution_of_a_block_runs_once_more() -> None:
    assert run(LEAST)[3] == 13 + 6
    assert run(LEAST, depth=10)[3] == 7 + 3


def test_shares_between_recompute_as_many_blocks_as_they_ask() -> None:
    saved = [network(share).set_activation_budget(share) for share in (0.99, 0.3, 0.25, 0.2, LEAST)]
    runs = [run(share)[3] for share in (0.99, 0.3, 0.25, 0.2, LEAST)]
    assert saved == sorted(saved, reverse=True)
    assert runs == sorted(runs)
    assert len(set(runs)) > 3


def test_a_retained_graph_can_be_walked_twice() -> None:
    once, twice = network(1.0), network(LEAST)
    torch.manual_seed(1)
    once(IMAGES).sum().backward()
    torch.manual_seed(1)
    total = twice(IMAGES).sum()
    for _ in range(2):
        total.backward(retain_graph=True)
    for (name, expected), parameter in zip(once.named_parameters(), twice.parameters(), strict=True):
        assert expected.grad is not None
        torch.testing.assert_close(parameter.grad, 2 * expected.grad, msg=name)


def test_names_evaluation_copies_and_costs_stay() -> None:
    plain, sparing = network(1.0), network(LEAST)
    assert list(plain.state_dict()) == list(sparing.state_dict())
    assert multiply_adds(sparing, 32) == multiply_adds(plain, 32)
    for context in (torch.inference_mode(), torch.enable_grad()):
        with context:
            assert torch.equal(sparing.eval()(IMAGES), plain.eval()(IMAGES))
    copied = copy.deepcopy(sparing.train())
    torch.manual_seed(2)
    copied(IMAGES).sum().backward()
    assert copied.norm.num_batches_tracked == 1
    assert sparing.norm.num_batches_tracked == 0
    assert sparing.set_activation_budget(1.0) == 1.0
    assert {block.saved for block in sparing.modules() if hasattr(block, "saved")} == {Saved.ALL}


def test_the_statistics_are_restored_if_the_backward_pass_fails() -> None:
    model = network(0.5, dropout=0.0)
    logits = model(IMAGES)
    statistics = dict(model.named_buffers())
    model.get_submodule("group1.0.norm2").register_forward_hook(
        lambda module, inputs, output: (_ for _ in ()).throw(ValueError("no"))
    )
    with pytest.raises(ValueError, match="no"):
        logits.sum().backward()
    assert all(buffer is statistics[name] for name, buffer in model.named_buffers())


def test_full_graphs_still_compile() -> None:
    model = network(1.0, dropout=0.0)
    expected = network(1.0, dropout=0.0)(IMAGES)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(IMAGES), expected)


def test_any_part_with_a_norm_before_a_layer() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 2, 1))
    other = copy.deepcopy(layer)
    torch.manual_seed(1)
    layer(IMAGES).square().sum().backward()
    after = torch.get_rng_state()
    torch.manual_seed(1)
    rebuilt(other, other, IMAGES).square().sum().backward()
    assert torch.equal(torch.get_rng_state(), after)
    for expected, parameter in zip(layer.parameters(), other.parameters(), strict=True):
        assert expected.grad is not None
        assert parameter.grad is not None
        assert torch.equal(expected.grad, parameter.grad)


sizes = st.builds(
    lambda least, hidden, rest, again: SavedSizes(least + hidden + rest, least + hidden, least, again),
    *[st.integers(0, 1000)] * 4,
)


@settings(deadline=None)
@given(
    st.lists(sizes, min_size=1, max_size=8).filter(lambda parts: sum(part.all for part in parts)), st.floats(0.01, 1)
)
def test_the_share_is_met_where_it_can_be_and_cheaper_parts_go_first(parts: list[SavedSizes], share: float) -> None:
    choices, saved_share = choose(parts, share)
    total = sum(part.all for part in parts)
    fields = {Saved.ALL: "all", Saved.CONVOLVED: "convolved", Saved.INPUT: "input"}
    saved = sum(getattr(part, fields[choice]) for part, choice in zip(parts, choices, strict=True))
    assert saved_share == pytest.approx(saved / total)
    assert saved_share <= share or saved_share == pytest.approx(sum(part.input for part in parts) / total)
    for (first, choice), (second, other) in itertools.permutations(zip(parts, choices, strict=True), 2):
        if choice is Saved.INPUT and other is Saved.CONVOLVED:
            assert first.price() <= second.price()
