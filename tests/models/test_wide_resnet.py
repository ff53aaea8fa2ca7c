import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from wrnexp.errors import UserError
from wrnexp.models import WideResNet, parameter_count
from wrnexp.models.dropout import scaled_mask

Drop = Callable[[Tensor, float], Tensor]


def keep_all(activations: Tensor, p: float) -> Tensor:
    return activations


def drop_some(activations: Tensor, p: float) -> Tensor:
    return activations * scaled_mask(activations, p)


def normed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def convolved(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A convolution as a matrix product of patches."""
    size = weight.shape[-1]
    patches = F.unfold(x, size, padding=size // 2, stride=stride)
    height, width = (-(-side // stride) for side in x.shape[2:])
    return (weight.flatten(1) @ patches).reshape(len(x), -1, height, width)


def plain(weights: Iterator[Tensor], x: Tensor, depth: int, width: int, drop: Drop = keep_all) -> Tensor:
    """The network in train mode, written from the paper's table 1, on the weights in the order of the layers."""
    x = drop(convolved(x, next(weights), 1), 0.1)
    channels = 16
    for group, outputs in enumerate((16 * width, 32 * width, 64 * width)):
        for block in range((depth - 4) // 6):
            stride = 2 if group and not block else 1
            active = torch.relu(normed(x, next(weights), next(weights)))
            hidden = convolved(active, next(weights), stride)
            hidden = drop(torch.relu(normed(hidden, next(weights), next(weights))), 0.3)
            hidden = convolved(hidden, next(weights), 1)
            x = hidden + (x if channels == outputs else convolved(active, next(weights), stride))
            channels = outputs
    x = torch.relu(normed(x, next(weights), next(weights))).mean(3).mean(2)
    logits = x @ next(weights).T + next(weights)
    assert next(weights, None) is None
    return logits


def network(depth: int, width: int, dropout: float = 0.0, stem_dropout: float = 0.0) -> WideResNet:
    """A network in float64 with no parameter at a special value such as 0 or 1."""
    torch.manual_seed(0)
    model = WideResNet(depth, width, dropout, stem_dropout, num_classes=7).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 1), (10, 2), (22, 2)])
def test_outputs_and_gradients_equal_the_plain_version(depth: int, width: int) -> None:
    model = network(depth, width)
    images = torch.randn(3, 3, 12, 8, dtype=torch.float64, requires_grad=True)
    weights = list(model.parameters())
    ours, theirs = model(images), plain(iter(weights), images, depth, width)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    mixture = torch.randn_like(ours)
    pairs = (torch.autograd.grad((logits * mixture).sum(), [images, *weights]) for logits in (ours, theirs))
    for gradient, expected in zip(*pairs, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-10)


def test_dropout_stands_after_the_stem_and_between_the_convolutions() -> None:
    model = network(10, 2, dropout=0.3, stem_dropout=0.1)
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(1)
    ours = model(images)
    torch.manual_seed(1)
    theirs = plain(iter(model.parameters()), images, 10, 2, drop_some)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    assert not torch.equal(ours, plain(iter(model.parameters()), images, 10, 2))


def test_evaluation_is_deterministic_and_takes_an_image_alone() -> None:
    model = network(10, 1, dropout=0.5, stem_dropout=0.5)
    images = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    for _ in range(3):
        model(images)
    model.eval()
    logits = model(images)
    assert torch.equal(logits, model(images))
    torch.testing.assert_close(torch.cat([model(image[None]) for image in images]), logits)


def test_dropout_draws_anew_in_train_mode() -> None:
    model, images = network(10, 1, dropout=0.5), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    assert not torch.equal(model(images), model(images))


@pytest.mark.parametrize("training", [True, False])
def test_memory_format_and_autocast_keep_the_result(training: bool) -> None:
    model = network(16, 2).float().train(training)
    images = torch.randn(8, 3, 16, 16)
    expected = model(images)
    model = model.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(images), expected, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(images)
    assert rough.dtype == torch.bfloat16
    assert (rough - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(
    ("depth", "width", "parameters"),
    [
        (16, 8, 11_007_540),
        (28, 10, 36_536_884),
        (40, 4, 8_972_340),
        (16, 4, 2_772_020),
        (40, 2, 2_255_156),
        (28, 2, 1_479_220),
        (10, 2, 315_316),
        (10, 1, 83_700),
    ],
)
def test_published_parameter_counts(depth: int, width: int, parameters: int) -> None:
    with torch.device("meta"):
        assert parameter_count(WideResNet(depth, width, 0.3, 0.1, 100)) == parameters


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 20))
def test_parameter_count_is_the_formula(blocks: int, width: int, classes: int) -> None:
    sizes, expected = [16, 16 * width, 32 * width, 64 * width], 3 * 16 * 9
    for inputs, outputs in itertools.pairwise(sizes):
        first = 2 * inputs + 9 * inputs * outputs + 2 * outputs + 9 * outputs * outputs
        projection = inputs * outputs if inputs != outputs else 0
        expected += first + projection + (blocks - 1) * (4 * outputs + 18 * outputs * outputs)
    expected += 2 * sizes[-1] + sizes[-1] * classes + classes
    with torch.device("meta"):
        model = WideResNet(6 * blocks + 4, width, 0.0, 0.0, classes)
    assert parameter_count(model) == expected
    assert sum(isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3) for module in model.modules()) == (
        6 * blocks + 1
    )


@settings(deadline=None)
@given(st.integers(-10, 60).filter(lambda depth: depth not in range(10, 61, 6)))
def test_impossible_depths_name_the_possible(depth: int) -> None:
    with pytest.raises(UserError, match=rf"model\.depth is {depth}: .* 10, 16, 22, 28, 34, 40"):
        WideResNet(depth, 1, 0.0, 0.0, 10)


@pytest.mark.parametrize("width", [0, -1])
def test_impossible_widths(width: int) -> None:
    with pytest.raises(UserError, match=rf"model\.width is {width}"):
        WideResNet(10, width, 0.0, 0.0, 10)


def test_initial_weights_are_kaiming_by_fan_out() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, 4, 0.0, 0.0, 10)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4:
            outputs, _, height, width = parameter.shape
            spread = parameter.std() / (2 / (outputs * height * width)) ** 0.5
            assert abs(spread - 1) < 4 / parameter.numel() ** 0.5, name
        elif name != "classifier.weight":
            assert torch.equal(parameter, torch.full_like(parameter, "norm" in name and "weight" in name)), name
