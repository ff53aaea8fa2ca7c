import math

import pytest
import torch
from torch import nn

from wrnexp.models.dropout import Dropout, scaled_mask


@pytest.mark.parametrize("p", [0.05, 0.1, 0.25, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_zeroes_a_share_p_and_scales_the_rest(p: float, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    ones = torch.ones(40, 32, 25, 8).contiguous(memory_format=layout)
    dropped = Dropout(p)(ones)
    zero = dropped == 0
    assert abs(zero.double().mean() - p) < 5 * math.sqrt(p * (1 - p) / ones.numel())
    torch.testing.assert_close(dropped[~zero], torch.full_like(dropped[~zero], 1 / (1 - p)), rtol=2e-4, atol=0)
    assert dropped.is_contiguous(memory_format=layout)


def test_the_four_elements_of_a_random_word_are_independent() -> None:
    torch.manual_seed(0)
    zero = (Dropout(0.3)(torch.ones(100_000, 4)) == 0).double()
    expected = torch.full((4, 4), 0.09, dtype=torch.float64).fill_diagonal_(0.3)
    assert ((zero.T @ zero) / len(zero) - expected).abs().max() < 5 * math.sqrt(0.25 / len(zero))


def test_the_mean_is_that_of_the_input_to_the_rounding_of_p() -> None:
    torch.manual_seed(0)
    ones = torch.ones(1_000_000, dtype=torch.float64)
    sigma = math.sqrt(0.3 / 0.7 / ones.numel())
    assert abs(Dropout(0.3)(ones).mean() - 1) < 5 * sigma


def test_gradient_passes_where_the_value_did() -> None:
    values = torch.randn(7, 13, requires_grad=True)
    dropped = Dropout(0.4)(values)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    torch.testing.assert_close(values * gradient, dropped)
    assert 0 < (gradient == 0).sum() < values.numel()


def test_the_seed_decides_and_nothing_else() -> None:
    drawn = []
    for seed in (3, 4, 3):
        torch.manual_seed(seed)
        drawn.append(Dropout(0.5)(torch.ones(1001)))
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("layer", [Dropout(0.0), Dropout(0.5).eval()])
def test_off_is_the_identity_and_draws_nothing(layer: nn.Module) -> None:
    values, before = torch.randn(10), torch.get_rng_state()
    assert torch.equal(layer(values), values)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.25, 0.3, 0.9, 1 - 1e-6])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_mask_falls_the_same_in_every_precision(p: float, dtype: torch.dtype) -> None:
    """Masks of two-byte types are written as bits, others by arithmetic."""
    ones = torch.ones(3, 16, 9, 8).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    expected = scaled_mask(ones, p)
    torch.manual_seed(0)
    mask = scaled_mask(ones.to(dtype), p)
    assert torch.equal(mask == 0, expected == 0)
    kept_levels = round(65536 * (1 - min(max(p, 1 / 65536), 1 - 1 / 65536)))
    scale = torch.tensor(65536 / kept_levels, dtype=dtype)
    assert torch.equal(mask[mask != 0], scale.expand(int((mask != 0).sum())))
    assert mask.stride() == ones.stride()


def test_edges() -> None:
    assert torch.equal(Dropout(1.0)(torch.ones(9)), torch.zeros(9))
    assert Dropout(0.5)(torch.ones(0, 3)).shape == (0, 3)
    assert Dropout(0.5)(torch.ones(5, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert set(Dropout(0.5)(torch.ones(101)).tolist()) == {0.0, 2.0}


def test_compiled_graphs_hold_torchs_own() -> None:
    layer = torch.compile(Dropout(0.25), backend="eager", fullgraph=True)
    torch.manual_seed(0)
    zero = layer(torch.ones(100_000)) == 0
    assert abs(zero.double().mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / zero.numel())
