"""Which parameters weight decay pulls on."""

from typing import Any

from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float, *, decay_norm_and_bias: bool) -> list[dict[str, Any]]:
    """Return the parameter groups of a torch optimizer: `params` and `weight_decay`.

    Args:
        model: its trainable parameters are grouped.
        weight_decay: L2 penalty of the decayed group.
        decay_norm_and_bias: put every parameter into one decayed group, as the paper's code does. Otherwise the weights
            and biases of normalisation layers and all other biases, which have one dimension, form an undecayed group.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if decay_norm_and_bias:
        return [{"params": trainable, "weight_decay": weight_decay}]
    return [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
