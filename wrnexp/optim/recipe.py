"""SGD with momentum, its learning rate and its loss, as configured by the group `optim`."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from wrnexp.errors import UserError
from wrnexp.optim.groups import parameter_groups
from wrnexp.optim.schedules import Schedule

FUSED_DEVICES = {"cpu", "cuda"}  # one kernel for all parameters; takes a third of the time on a CPU


@dataclass(frozen=True)
class SGDRecipe:
    """The config group `optim`.

    Attributes:
        epochs: passes over the training set.
        lr: peak learning rate, for gradients that are means over the images of a step.
        momentum: of SGD.
        nesterov: use Nesterov momentum.
        weight_decay: L2 penalty, added to the gradient and therefore scaled by the learning rate.
        decay_norm_and_bias: decay batch norm parameters and biases too, as the paper does.
        label_smoothing: share of the target that is spread evenly over all classes, in 0..1.
        accumulate: micro-batches per optimizer step.
        clip_norm: maximum global norm of the gradient; None disables clipping.
        schedule: factor of `lr` at each step.
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
        if not callable(self.schedule):  # a custom class
            allowed = "a function of (step, steps_per_epoch, epochs)"
            raise UserError(f"optim.schedule is a {type(self.schedule).__name__}; allowed: {allowed}")

    def optimizer(self, model: nn.Module) -> SGD:
        """Return SGD over the trainable parameters of `model`, already on its device and in its memory format."""
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
        """Return the learning rate of optimizer step `step`, counted from 0 over the whole run."""
        return self.lr * self.schedule(step, steps_per_epoch, self.epochs)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the label-smoothed cross-entropy in nats, summed over the images, in float32.

        A sum, not a mean: the caller divides by the number of images of the whole step, which may have several
        micro-batches or be incomplete.

        Args:
            logits: `[N, classes]`, any float type.
            targets: class indices, int64 `[N]`, or class probabilities, float `[N, classes]`.
        """
        return F.cross_entropy(logits.float(), targets, label_smoothing=self.label_smoothing, reduction="sum")


def _follow_memory_format(optimizer: Optimizer) -> None:
    """Give loaded momentum the strides of its parameter: the fused CPU kernel ignores strides."""
    for parameter, state in optimizer.state.items():
        if isinstance(momentum := state.get("momentum_buffer"), Tensor):
            state["momentum_buffer"] = torch.empty_like(parameter, requires_grad=False).copy_(momentum)
