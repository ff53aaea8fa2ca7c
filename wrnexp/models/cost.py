"""What a network costs: its parameters, and the multiply-adds of one image."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable numbers in `model`."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Return the multiply-adds of one RGB image in the forward pass: convolutions and matrix products, nothing else.

    A copy without data is traced on the meta device, so nothing is computed and `model` stays as it is.

    Args:
        model: any network that maps images `[N, 3, image_size, image_size]` to a tensor.
        image_size: height and width in pixels.
    """
    shapes = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shapes(torch.empty(1, 3, image_size, image_size, device="meta"))
    return int(counter.get_total_flops()) // 2
