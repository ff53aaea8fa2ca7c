from pathlib import Path

import pytest
import torch
from torch import nn

from wrnexp.optim import averaged

DECAY = 0.75


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)


def change(model: nn.Module) -> None:
    """Change weights, statistics and counters, as a training step does."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 7)


def test_average_is_the_recursion_and_counters_are_copied() -> None:
    model = network()
    average = averaged(model, DECAY)
    expected: dict[str, torch.Tensor] = {}
    for _ in range(5):
        change(model)
        average.update(model)
        for name, now in model.state_dict().items():
            blended = DECAY * expected.get(name, now) + (1 - DECAY) * now
            expected[name] = blended if now.is_floating_point() else now.clone()
    averages = average.model.state_dict()
    assert set(averages) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(averages[name], tensor, msg=name)
    assert int(averages["1.num_batches_tracked"]) == 35


def test_the_trained_model_is_left_alone() -> None:
    model = network()
    average = averaged(model, DECAY)
    change(model)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    average.update(model)
    change(average.model)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_resuming_from_a_file_equals_never_stopping(tmp_path: Path) -> None:
    model = network()
    straight, stopped = averaged(model, DECAY), averaged(model, DECAY)
    for update in range(4):
        change(model)
        straight.update(model)
        stopped.update(model)
        if update == 1:
            torch.save(stopped.state_dict(), tmp_path / "average.pt")
            stopped = averaged(network(), DECAY)
            stopped.load_state_dict(torch.load(tmp_path / "average.pt", weights_only=True))
    for expected, resumed in zip(
        straight.model.state_dict().values(), stopped.model.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, resumed)


def test_no_average_is_the_model_itself() -> None:
    model = network()
    average = averaged(model, None)
    assert average.model is model
    before = [parameter.detach().clone() for parameter in model.parameters()]
    average.update(network())
    average.load_state_dict(average.state_dict())
    assert average.state_dict() == {}
    assert all(map(torch.equal, model.parameters(), before))


@pytest.mark.parametrize("decay", [-0.1, 1.1])
def test_an_impossible_decay(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        averaged(network(), decay)
