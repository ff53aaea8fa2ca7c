"""Batch norm over the images of all processes: statistics, gradients and running averages are those of one process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class SharedBatchNorm(_BatchNorm):
    """A batch norm whose batch is the images of all processes, each of which may have another number of them, or none.

    In place of `torch.nn.SyncBatchNorm`, which refuses tensors of a CPU, makes the host wait for the GPU in every
    forward pass (it leaves out empty shares by a mask that is read back), and does not compile to one graph. In
    evaluation mode it is the batch norm that it was made from.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise `[N, C, ...]` over the batch of all processes; every process must call it in the same order."""
        if not self.training:
            return super().forward(images)
        output: Tensor
        output, mean, variance, count = _Normalise.apply(images, self.weight, self.bias, self.eps)
        self._update_running_statistics(mean, variance, count)
        return output

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, with the variance's unbiased estimate, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1)), share)

    def _check_input_dim(self, images: Tensor) -> None:
        if images.dim() < 2:
            raise ValueError(f"a batch norm takes [N, C, ...], not a tensor of {images.dim()} dimensions")


class _Normalise(Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the mean and variance of all processes.

    Ioffe and Szegedy, "Batch Normalization", 2015 (arXiv 1502.03167), the gradient included; shares of different size
    are put together as by Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", 1979.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _statistics(images)
        ctx.save_for_backward(images, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        output = F.batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)
        return output, mean, variance, count

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor, *of_statistics: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        images, weight, mean, variance, count = ctx.saved_tensors
        of_images, of_weight, of_bias = _own_gradients(gradient, images, weight, mean, torch.rsqrt(variance + ctx.eps))
        sums = torch.stack([of_weight, of_bias])
        all_sums = sums.clone()
        dist.all_reduce(all_sums)
        # torch's kernel took two means over the images of this process; this puts those of the batch in their place.
        change = (sums / max(images.numel() // images.shape[1], 1) - all_sums / count) * (
            1 if weight is None else weight
        )
        change *= torch.rsqrt(variance + ctx.eps)
        of_images += F.batch_norm(images, mean, variance, change[0], change[1], training=False, eps=ctx.eps)
        return of_images, None if weight is None else of_weight, None if weight is None else of_bias, None


def _own_gradients(
    gradient: Tensor, images: Tensor, weight: Tensor | None, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of images, weight and bias as if the batch were the images of this process alone."""
    if images.numel() == 0:
        return torch.zeros_like(images), torch.zeros_like(mean), torch.zeros_like(mean)
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_batch_norm_backward(
        gradient, images, weight, None, None, mean, scale, True, 0.0, [True, True, True]
    )
    return gradients


def _statistics(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and (biased) variance [C], float32 or wider, and the values a channel [] of all processes."""
    mean, squares, count = _own_statistics(images)
    table = mean.new_zeros(dist.get_world_size(), 2 * len(mean) + 1)
    table[dist.get_rank()] = torch.cat([mean, squares, mean.new_full((1,), count)])
    dist.all_reduce(table)  # each row is one process's and zero elsewhere: one message instead of two
    means, squares, counts = table.tensor_split([len(mean), 2 * len(mean)], dim=1)
    total = counts.sum()
    overall = (means * counts).sum(0) / total
    return overall, (squares + counts * (means - overall).square()).sum(0) / total, total


def _own_statistics(images: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return mean and summed squares about it, float32 or wider [C], and the values a channel of this process."""
    count = images.numel() // images.shape[1]
    ones = images.new_ones(images.shape[1], dtype=torch.promote_types(images.dtype, torch.float32))
    if count == 0:
        return torch.zeros_like(ones), torch.zeros_like(ones), 0
    # torch's kernel for a whole batch norm: on a CPU a twentieth of the time of `torch.var_mean`.
    _, mean, scale = torch.native_batch_norm(images, ones, None, None, None, True, 0.0, 0.0)
    return mean, count / scale.square(), count


def shared_norms(model: nn.Module) -> nn.Module:
    """Return `model` with a `SharedBatchNorm` in place of each batch norm, over the same parameters and buffers."""
    if isinstance(model, _BatchNorm):
        return _shared(model)
    for name, child in model.named_children():
        setattr(model, name, shared_norms(child))
    return model


def _shared(norm: _BatchNorm) -> SharedBatchNorm:
    made = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made.train(norm.training)
    for name, parameter in norm.named_parameters(recurse=False):
        setattr(made, name, parameter)
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(made, name, buffer)
    return made
