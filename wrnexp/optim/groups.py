"""Parameter groups with and without weight decay."""

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float, *, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Return the trainable parameters as groups of a torch optimizer.

    Args:
        model: on its device.
        weight_decay: L2 penalty of the decayed group.
        decay_norm_and_bias: decay all parameters, as the paper's code does. Otherwise parameters with at most one
            dimension (weights of normalisation layers, all biases) form a group without decay.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if decay_norm_and_bias:
        return [{"params": trainable, "weight_decay": weight_decay}]
    return [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
