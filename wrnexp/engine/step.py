"""One optimizer step: micro-batches forward and backward, clip, update, average."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wrnexp.engine.distributed.batch_norm import shared_norms
from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.hardware import Hardware
from wrnexp.engine.memory import batch_of, budgeted
from wrnexp.engine.meters import Meters
from wrnexp.tensors import preserve_rng_state, share

Batch = tuple[Tensor, Tensor]


class Recipe(Protocol):
    """What training asks of the optim group."""

    @property
    def epochs(self) -> int:
        """Epochs of a whole training."""
        ...

    @property
    def clip_norm(self) -> float | None:
        """The largest global gradient norm; None disables clipping."""
        ...

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of a model that is on its device."""
        ...

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the rate of a step, counted from 0."""
        ...

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the loss summed over the images."""
        ...


class Average(Protocol):
    """An average of the weights, or the weights themselves."""

    @property
    def model(self) -> nn.Module:
        """The network to evaluate."""
        ...

    def update(self, model: nn.Module) -> None:
        """Take the weights in after a step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class TrainStep:
    """The state that a step changes (weights, momentum, average), and the step.

    Args:
        model: maps float32 [B, 3, H, W] to logits [B, classes].
        recipe: optimizer, rate, loss, clipping.
        average: makes the average of a model's weights.
        hardware: where and how to compute.
        memory_budget: the share of the activations kept for the backward pass, 0 < x <= 1; the rest is recomputed.
        ranks: the processes that share the run. Each is given its share of every micro-batch.
        sync_batchnorm: batch norm is over the images of all processes; otherwise over those of each.

    Attributes:
        model: the network, on its device.
        forward: the same, compiled where the hardware says so, its gradients shared where there are others.
        optimizer: the recipe's, over the trainable parameters of `model`.
        average: the average of the weights.

    Raises:
        UserError: the model runs uncompiled and cannot recompute.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        average: Callable[[nn.Module], Average],
        hardware: Hardware,
        memory_budget: float = 1.0,
        ranks: Ranks | None = None,
        sync_batchnorm: bool = True,
    ) -> None:
        self._ranks = ranks or Ranks()
        self.hardware = hardware
        self.recipe = recipe
        self.model = hardware.to_device(shared_norms(model) if sync_batchnorm and self._ranks.count > 1 else model)
        self.average = average(self.model)
        self._budget = memory_budget
        self._network = budgeted(self.model, memory_budget, hardware)
        self.forward = self._ranks.wrap_ddp(self._network)
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = recipe.optimizer(self.model)
        self._limit = recipe.clip_norm or math.inf
        self.clear_gradients()

    def __call__(self, micro_batches: Iterable[Batch], sizes: Sequence[int], rate: float, meters: Meters) -> None:
        """Take a step at `rate` on the mean gradient of the images of `micro_batches`, unless `meters` refuse it.

        Args:
            micro_batches: of this process.
            sizes: the images of each, those of all processes together.
            rate: of learning.
            meters: take loss and gradient norm. Nothing else is read from the device.
        """
        images = sum(sizes)
        for index, (batch, size) in enumerate(zip(micro_batches, sizes, strict=True), 1):
            with self._ranks.no_sync(self.forward, last=index == len(sizes)):
                meters.add_loss(self._gradients(batch, size, images), size)
        applied = meters.add_step(self._clip(), self._limit)
        if applied:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.clear_gradients()
        if applied:
            self.average.update(self.model)

    def _gradients(self, batch: Batch, size: int, images: int) -> Tensor:
        """Add a micro-batch's part of the mean gradient of `images` images; return its summed loss.

        Args:
            batch: this process's share.
            size: of the micro-batch, all processes together.
            images: of the step, all processes together.
        """
        inputs, targets = self.hardware.batch(*batch)
        if self.hardware.cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with batch_of(self._network, self._budget, size, self._ranks.count):
            with self.hardware.autocast():
                logits = self.forward(inputs)
            loss = self.recipe.loss(logits, targets)
            # DDP averages gradients over ranks; scale the loss by the number of ranks to get their sum.
            (loss / (images / self._ranks.count)).backward()  # type: ignore[no-untyped-call]
        return loss

    def warm_up(self, like: Batch, sizes: Collection[int]) -> None:
        """Compile forward and backward pass on batches of zeros; restore weights, buffers and generators bit for bit.

        On a GPU cuDNN tries its algorithms for these shapes too. Waits for the device. Every process must call it.

        Args:
            like: a batch of this process, images [N, 3, H, W] and targets [N, ...]; its values are not used.
            sizes: of the micro-batches to come, all processes together, the largest first: that one is compiled.
        """
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        training = self.model.training
        self.model.train()
        with preserve_rng_state(self.hardware.device):
            for size in sizes:
                images_of_rank = len(range(size)[share(size, self._ranks.rank, self._ranks.count)])
                images, targets = (values.new_zeros(images_of_rank, *values.shape[1:]) for values in like)
                # CUDA graphs: the first call allocates, the second records, the third replays.
                for _ in range(3 if self.hardware.cuda_graphs else 1):
                    self._gradients((images, targets), size, size)
        self.model.train(training)
        self.clear_gradients()
        restore_buffers(self.model, buffers)
        self.hardware.synchronize()

    def _clip(self) -> Tensor:
        """Clip the gradients where there is a limit; return their global norm before that."""
        norm = nn.utils.get_total_norm(parameter.grad for parameter in self._parameters if parameter.grad is not None)
        if self._limit < math.inf:
            nn.utils.clip_grads_with_norm_(self._parameters, self._limit, norm)
        return norm

    def clear_gradients(self) -> None:
        """Drop the gradients, or zero them where CUDA graphs are replayed.

        A graph writes its gradients to the same memory every time. Without gradients of our own to add to, autograd
        would keep that memory as `grad`, and the next micro-batch of a step would overwrite the sum so far
        (pytorch issue 169545).
        """
        if not self.hardware.cuda_graphs:
            self.optimizer.zero_grad(set_to_none=True)
            return
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.zero_grad(set_to_none=False)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the step changes."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a state that `state_dict` gave.

        Raises:
            KeyError, RuntimeError, ValueError: it is not of this model.
        """
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        settings = [{name: group[name] for name in self.optimizer.defaults} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, configured in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(configured)  # the state holds the settings of the saving process; the config's are right


@torch.no_grad()
def restore_buffers(model: nn.Module, buffers: Mapping[str, Tensor]) -> None:
    """Set the buffers of `model` to copies of them that were made earlier, by name."""
    for name, buffer in model.named_buffers():  # some models assign a new tensor in each forward pass
        buffer.copy_(buffers[name])
