"""Dropout with a mask that is cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, except that eager mode on a CPU draws 16 random bits per element.

    There `torch.nn.Dropout` draws two 32-bit words per element on non-Intel processors, which takes a tenth of a
    training step of a wide ResNet. The probability is rounded to a multiple of 2**-16; the scale uses the rounded
    probability, so the expectation is exactly the input.
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Zero each element with probability `p` and scale the others by 1 / (1 - p); the identity in eval mode."""
        eager_cpu = activations.device.type == "cpu" and not torch.compiler.is_compiling()
        if eager_cpu and self.training and 0 < self.p < 1:
            return activations * scaled_mask(activations, self.p)
        return super().forward(activations)


def scaled_mask(like: Tensor, p: float) -> Tensor:
    """Return a mask like `like`: 0 with probability `p`, else 1 / (1 - p), drawn from torch's global generator."""
    dropped_levels = min(max(round(p * LEVELS), 1), LEVELS - 1)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bits = words.view(torch.int16)[: like.numel()]
    scale = torch.tensor(LEVELS / (LEVELS - dropped_levels), dtype=like.dtype)
    # Signed 16-bit levels from `threshold` on are not dropped: clamp to two adjacent levels, shift to 0 and 1.
    threshold = dropped_levels - LEVELS // 2
    mask = bits.clamp_(threshold - 1, threshold).sub_(threshold - 1)
    strides = torch.empty_like(like, device="meta").stride()  # dense, also in channels-last format
    if like.element_size() == bits.element_size():  # write the bits of 0 and of the scale: half the time
        return mask.mul_(scale.view(torch.int16)).view(like.dtype).as_strided(like.shape, strides)
    return mask.to(like.dtype).mul_(scale).as_strided(like.shape, strides)


def mask_size(device: torch.device) -> float:
    """Return the memory of the mask that eager mode saves, in elements of the input: one on a CPU.

    On other devices the mask is a byte per element, counted as a quarter (half is exact for bfloat16).
    """
    return 1.0 if device.type == "cpu" else 0.25
