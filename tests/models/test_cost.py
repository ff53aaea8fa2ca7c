import pytest
import torch
from torch import nn

from wrnexp.models import WideResNet, multiply_adds, parameter_count


@pytest.mark.parametrize(
    ("depth", "width", "millions"),
    [
        (16, 8, "1548"),
        (28, 10, "5243"),
        (40, 4, "1299"),
        (16, 4, "393"),
        (40, 2, "328"),
        (28, 2, "214"),
        (10, 2, "44.5"),
        (10, 1, "12.5"),
    ],
)
def test_published_multiply_adds(depth: int, width: int, millions: str) -> None:
    with torch.device("meta"):
        model = WideResNet(depth, width, 0.3, 0.1, 100)
    decimals = len(millions.partition(".")[2])
    assert f"{multiply_adds(model, 32) / 1e6:.{decimals}f}" == millions


def test_any_network_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),
        nn.Flatten(),
        nn.Linear(8 * 5 * 5, 11),
    )
    assert multiply_adds(model, 10) == 100 * 8 * 27 + 25 * 8 * (2 * 9) + 200 * 11
    assert parameter_count(model) == 8 * 27 + 8 + 8 * 18 + 8 + 200 * 11 + 11


def test_quadruple_for_twice_the_side() -> None:
    model = WideResNet(10, 1, 0.0, 0.0, 5)
    assert multiply_adds(model, 64) - 64 * 5 == 4 * (multiply_adds(model, 32) - 64 * 5)


def test_the_model_and_the_random_numbers_stay_as_they_are() -> None:
    model = WideResNet(10, 1, 0.3, 0.1, 5)
    model.group2.eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    multiply_adds(model, 32)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_frozen_parameters_are_not_counted() -> None:
    model = nn.Linear(3, 4)
    model.bias.requires_grad_(False)
    assert parameter_count(model) == 12
