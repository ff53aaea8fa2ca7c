"""The optimizer's half of a recipe: SGD with momentum, its learning rate and its loss."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from wrnexp.errors import UserError
from wrnexp.optim.groups import parameter_groups
from wrnexp.optim.schedules import Schedule

FUSED_DEVICES = {"cpu", "cuda"}  # one kernel for all parameters: a third of the time of the other forms on a CPU


@dataclass(frozen=True)
class SGDRecipe:
    """SGD and what surrounds it, as the group `optim` of the configuration names it.

    Attributes:
        epochs: passes over the training set.
        lr: peak learning rate, for gradients that are means over the images of a step.
        momentum: factor of the running sum of gradients.
        nesterov: look ahead by one momentum step.
        weight_decay: L2 penalty, added to the gradient (so it is scaled by the learning rate).
        decay_norm_and_bias: let weight decay act on batch norm and biases too, as the paper does.
        label_smoothing: share of the target spread evenly over all classes, in 0..1.
        accumulate: micro-batches in an optimizer step.
        clip_norm: largest global norm of the gradient; None is no clipping.
        schedule: multiple of `lr` at each step.
    """

    epochs: int
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_norm_and_bias: bool
    label_smoothing: float
    accumulate: int
    clip_norm: float | None
    schedule: Schedule

    def __post_init__(self) -> None:
        if not callable(self.schedule):  # made by a class of the user's own
            asked = "a function of (step, steps_per_epoch, epochs)"
            raise UserError(f"optim.schedule is a {type(self.schedule).__name__}; allowed: {asked}")

    def optimizer(self, model: nn.Module) -> SGD:
        """Return SGD over the trainable parameters of `model`, which is already on its device, in its memory format."""
        optimizer = SGD(
            parameter_groups(model, self.weight_decay, decay_norm_and_bias=self.decay_norm_and_bias),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            fused=all(parameter.device.type in FUSED_DEVICES for parameter in model.parameters()),
        )
        optimizer.register_load_state_dict_post_hook(_follow_memory_format)
        return optimizer

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of optimizer step `step`, counted from 0 over the whole training."""
        return self.lr * self.schedule(step, steps_per_epoch, self.epochs)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the label-smoothed cross-entropy in nats, summed over the images, in float32.

        The caller divides by the images of the whole step, so that a step of several micro-batches, or a last step
        that is not full, has the mean over the images that it really has.

        Args:
            logits: `[N, classes]`, any float type.
            targets: class indices, int64 `[N]`, or class probabilities, float `[N, classes]`.
        """
        return F.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing, reduction="sum")


def _follow_memory_format(optimizer: Optimizer) -> None:
    """Lay loaded momentum out in memory as its parameter is: the fused CPU kernel does not look at strides."""
    for parameter, state in optimizer.state.items():
        if isinstance(momentum := state.get("momentum_buffer"), Tensor):
            state["momentum_buffer"] = torch.empty_like(parameter, requires_grad=False).copy_(momentum)
