"""The cost of a network: parameters, and multiply-adds per image."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters, counted by element."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Return the multiply-adds of convolutions and matrix products in the forward pass of one RGB image.

    A copy of the network is traced on the meta device, so nothing is computed and `model` stays unchanged.
    """
    shapes = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shapes(torch.empty(1, 3, image_size, image_size, device="meta"))
    return int(counter.get_total_flops()) // 2
