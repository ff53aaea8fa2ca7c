import pytest
from torch import nn

from wrnexp.optim import parameter_groups


@pytest.fixture
def model() -> nn.Module:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    layers[3].weight.requires_grad_(False)
    return layers


def shapes(group: dict[str, list[nn.Parameter]]) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in group["params"]]


def test_all_decay_as_in_the_paper(model: nn.Module) -> None:
    (group,) = parameter_groups(model, 5e-4, decay_norm_and_bias=True)
    assert group["weight_decay"] == 5e-4
    assert shapes(group) == [(4, 3, 3, 3), (4,), (4,), (4,), (2,)]


def test_norm_and_biases_go_without(model: nn.Module) -> None:
    decayed, undecayed = parameter_groups(model, 5e-4, decay_norm_and_bias=False)
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (5e-4, 0.0)
    assert shapes(decayed) == [(4, 3, 3, 3)]
    assert shapes(undecayed) == [(4,), (4,), (4,), (2,)]
