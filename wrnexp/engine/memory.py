"""The activations that a forward pass leaves for the backward pass: how many of them are kept, and their bytes."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.autograd.graph import saved_tensors_hooks

from wrnexp.engine.compiling import FixedSize, compiled
from wrnexp.engine.hardware import Hardware
from wrnexp.errors import UserError

Forward = Callable[[Tensor], Tensor]

# What torch says where an allocation fails: CUDA's and mps's allocator, the CPU's on Linux and macOS, on Windows.
NO_MEMORY = re.compile(r"out of memory|DefaultCPUAllocator|not enough memory", re.IGNORECASE)


@runtime_checkable
class Recomputes(Protocol):
    """A model that can recompute activations in the backward pass, in eager mode."""

    def set_activation_budget(self, share: float) -> float:
        """Keep at most `share` (0 < share <= 1) of the activations from now on, as near as can be.

        Losses, gradients, buffers and the random numbers that follow must stay as with 1, bit for bit.

        Returns:
            The share that is kept.
        """
        ...


@dataclass(frozen=True)
class Budgeted:
    """torch.compile's backend `name` with a memory budget, in force while it compiles and at no other time.

    The budget is torch's `activation_memory_budget`: the partitioner keeps at most that share of what it would keep by
    itself, and recomputes the rest. It does nothing where the activations are smaller than the weights, at batches of
    less than about a dozen images. Graphs are cached by backend, so nets that differ in the budget only share none.
    """

    budget: float
    name: str = "inductor"

    def __call__(
        self, graph: torch.fx.GraphModule, inputs: list[Tensor], mode: str = "default", **options: Any
    ) -> Callable[..., Any]:
        """Compile a graph; `mode` is torch.compile's, which hands it on to a backend that it does not know."""
        if mode != "default":
            from torch._inductor import list_mode_options  # a second to import

            options["config_patches"] = list_mode_options(mode)
        with functorch_config.patch(activation_memory_budget=self.budget):
            compiled: Callable[..., Any] = torch._dynamo.lookup_backend(self.name)(graph, inputs, **options)
        return compiled


def budgeted(model: nn.Module, budget: float, hardware: Hardware) -> Forward:
    """Return the forward pass of `model` that keeps at most a share of the activations for the backward pass.

    Args:
        model: on its device.
        budget: 0 < budget <= 1; 1 is the model's own forward pass, with nothing in between.
        hardware: says whether it runs through torch.compile, which then decides what is recomputed.

    Raises:
        UserError: the model runs uncompiled and cannot recompute.
    """
    if hardware.compile:
        backend = "inductor" if budget == 1 else Budgeted(budget)
        fast = compiled(model, cuda_graphs=hardware.cuda_graphs, backend=backend)
        # Uncompiled, a model without `set_activation_budget` would exceed the budget.
        return FixedSize(model, fast, one_size=budget == 1 or isinstance(model, Recomputes))
    if budget == 1:
        return model
    if not isinstance(model, Recomputes):
        raise UserError(
            f"trainer.memory_budget={budget:g}: {type(model).__name__} has no method keep(share), so nothing of it can "
            "be recomputed uncompiled; use trainer.compile=true or trainer.memory_budget=1, or give it that method "
            "(docs/extending.md)"
        )
    model.set_activation_budget(budget)
    return model


@contextmanager
def batch_of(forward: Forward, budget: float, images: int, processes: int = 1) -> Iterator[None]:
    """Run the forward and backward pass of one batch within the block.

    A batch that a compiled network runs uncompiled recomputes activations as the compiled ones do.

    Args:
        forward: of `budgeted`.
        budget: as for `budgeted`.
        images: of the batch, all processes together.
        processes: that share it.
    """
    if not isinstance(forward, FixedSize):
        yield
        return
    with forward.batch_of(images, processes) as runs_compiled:
        model = forward.model
        if runs_compiled or budget == 1 or not isinstance(model, Recomputes):
            yield
            return
        model.set_activation_budget(budget)
        try:
            yield
        finally:
            model.set_activation_budget(1.0)  # else the compiled graph would not fit the model, and be compiled again


@dataclass(frozen=True)
class SavedTensors:
    """Bytes that one forward pass keeps for the backward pass, each storage counted once and whole.

    Attributes:
        activations: what grows with the batch, without the images themselves (a copy of them in autocast's precision
            counts).
        weights: what has the shape of a parameter, transposed or not: copies of weights in autocast's precision, batch
            norm's means and variances. The parameters and buffers themselves count nowhere, they are there anyway.
    """

    activations: int
    weights: int


def saved_for_backward(model: nn.Module, forward: Forward, images: Tensor) -> SavedTensors:
    """Run `forward` once and count what the graph behind its result holds.

    What a recomputation holds for a moment in the backward pass is not in it: for that see `Hardware.peak_memory`.

    Args:
        model: whose parameters and buffers are left out; in train mode its running statistics change.
        forward: the model's forward pass, for instance of `budgeted`.
        images: float [N, 3, H, W] on the model's device, normalised.
    """
    present = {_address(tensor) for tensor in (*model.parameters(), *model.buffers(), images)}
    shapes = {tuple(sorted(parameter.shape)) for parameter in model.parameters()}
    storages: dict[int, tuple[bool, int]] = {}

    def pack(tensor: Tensor) -> Tensor:
        address = _address(tensor)
        if address not in present:
            storages[address] = (tuple(sorted(tensor.shape)) in shapes, tensor.untyped_storage().nbytes())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = forward(images)  # kept alive until all is counted, so that no address comes twice
    sums = [sum(size for of_weights, size in storages.values() if of_weights is kind) for kind in (False, True)]
    del output
    return SavedTensors(*sums)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def out_of_memory(error: Exception, budget: float) -> str | None:
    """Return what to tell the user where `error` says that memory ran out, else None.

    Args:
        error: what training ended with.
        budget: the share of activations that was kept.
    """
    if "DataLoader worker" in str(error):  # no activation's fault
        return None
    if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not NO_MEMORY.search(str(error)):
        return None
    lines = str(error).splitlines() or [type(error).__name__]
    return (
        f"out of memory ({lines[0]}): lower trainer.memory_budget, now {budget:g} (0.8 keeps half of the activations "
        "or less, and the run resumes from its last checkpoint), or lower loader.batch_size and raise optim.accumulate "
        "by the same factor, which keeps the effective batch (another run, from the start)"
    )
