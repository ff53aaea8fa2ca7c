"""Dropout whose mask is cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, with the mask drawn from 16 random bits an element in eager mode on a CPU.

    There `torch.nn.Dropout` may draw two 32-bit words an element (it does on processors that are not Intel's), which
    takes a tenth of a training step of a wide ResNet. Here the probability is rounded to a multiple of 2**-16 and the
    other elements are scaled by that, so the expectation stays that of the input.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Zero each element with probability `p` and scale the others by 1 / (1 - p); the identity in eval mode."""
        eager = values.device.type == "cpu" and not torch.compiler.is_compiling()
        if eager and self.training and 0 < self.p < 1:
            return values * scaled_mask(values, self.p)
        return super().forward(values)


def scaled_mask(values: Tensor, p: float) -> Tensor:
    """Return a tensor like `values`: 0 with probability `p`, else 1 / (1 - p), drawn from torch's global generator."""
    dropped = min(max(round(p * LEVELS), 1), LEVELS - 1)
    words = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bits = words.view(torch.int16)[: values.numel()]
    scale = torch.tensor(LEVELS / (LEVELS - dropped), dtype=values.dtype)
    first_kept = dropped - LEVELS // 2
    kept = bits.clamp_(first_kept - 1, first_kept).sub_(first_kept - 1)  # 0 or 1, in place
    strides = torch.empty_like(values, device="meta").stride()  # dense, channels last or not
    if values.element_size() == bits.element_size():  # written as the bits of 0 and of the scale: half the time
        return kept.mul_(scale.view(torch.int16)).view(values.dtype).as_strided(values.shape, strides)
    return kept.to(values.dtype).mul_(scale).as_strided(values.shape, strides)


def mask_size(device: torch.device) -> float:
    """Return how many elements the mask that eager mode keeps is worth for each value: a whole one on a CPU.

    Elsewhere it is a byte, counted here as a quarter of an element; it is half of one in bfloat16.
    """
    return 1.0 if device.type == "cpu" else 0.25
