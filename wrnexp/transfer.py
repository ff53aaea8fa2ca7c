"""Copies to a device that do not make the host wait where that is safe."""

import torch
from torch import Tensor


def on(tensor: Tensor, device: torch.device) -> Tensor:
    """Return `tensor` on `device`.

    To a CUDA device it goes by way of page-locked memory and the host does not wait. Elsewhere the host waits: on mps a
    copy that is not waited for may read memory that was freed since (pytorch issue 139550).
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
