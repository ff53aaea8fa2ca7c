"""torch.compile as a training step wants it: fixed sizes, kernels kept on disk, CUDA graphs where they help."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from wrnexp.runs.cache import cache_folder

# Below this much arithmetic in a micro-batch, starting kernels is taken to be what bounds a step on a GPU. An estimate,
# not a measurement: forward, backward and update of a compiled WRN-16-8 start a few hundred kernels, 1 to 3 ms of the
# host's time, in which a GPU that reaches 300 to 400 TFLOP/s does about 1e12 floating-point operations.
LAUNCH_BOUND_FLOP = 1e12

# torch's own variables. It sets both by itself at the first compilation and leaves them set.
CACHE_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def launch_bound(flop: float) -> bool:
    """Say whether starting kernels, not computing, bounds the step of a micro-batch on a GPU.

    Args:
        flop: floating-point operations of the micro-batch, forward and backward.
    """
    return flop < LAUNCH_BOUND_FLOP


def compiled(model: nn.Module, *, cuda_graphs: bool, backend: str | Callable[..., Any] = "inductor") -> nn.Module:
    """Return `model` as a compiled function of it; nothing is compiled before the first call.

    Sizes are fixed: each number of images gets kernels of its own. With open sizes torch would recompile at the second
    one for any size, and use those slower kernels for all batches after it. See `FixedSize`.

    Args:
        model: one of wrnexp's own compiles as a single graph or not at all; a foreign one may fall back in places.
        cuda_graphs: record the kernels of forward and backward once and replay them with one launch each.
        backend: as torch.compile takes it.
    """
    ours = type(model).__module__.startswith("wrnexp.")
    mode = "reduce-overhead" if cuda_graphs else "default"
    return torch.compile(model, fullgraph=ours, dynamic=False, mode=mode, backend=backend)  # type: ignore[return-value]


class FixedSize(nn.Module):
    """A forward pass that is compiled for one number of images; other batches run uncompiled.

    The last micro-batch of an epoch may be smaller than the others. Compiling a network again takes a minute, for one
    batch per epoch. The largest size so far is the compiled one. With several processes the size of the whole batch
    counts, so that all of them take the same way: the two send different messages in the backward pass.

    Args:
        model: runs the other batches.
        fast: `compiled` of the model.
        one_size: compile for one size; otherwise for every size but that of an empty batch.
    """

    def __init__(self, model: nn.Module, fast: Callable[[Tensor], Tensor], *, one_size: bool = True) -> None:
        super().__init__()
        self.model = model
        self._fast = [fast]  # in a list, so that its parameters do not count twice
        self._one_size, self._size = one_size, 1
        self._runs_compiled: bool | None = None  # what `batch_of` has decided

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `images`, [N, 3, H, W]."""
        compiled = self._decide(len(images)) if self._runs_compiled is None else self._runs_compiled
        # Without images nothing in a graph depends on anything: compiled code sends messages in an order of its own.
        logits: Tensor = (self._fast[0] if compiled and len(images) else self.model)(images)
        return logits

    @contextmanager
    def batch_of(self, images: int, processes: int = 1) -> Iterator[bool]:
        """Run forward passes in the block as for shares of a batch of so many images; yield whether they are compiled.

        Args:
            images: of the batch, all processes together.
            processes: that share it; where one has no image, none runs compiled.
        """
        self._runs_compiled = self._decide(images) and images >= processes
        try:
            yield self._runs_compiled
        finally:
            self._runs_compiled = None

    def _decide(self, images: int) -> bool:
        self._size = max(self._size, images)
        return images == self._size or not self._one_size


@contextmanager
def kernels_kept() -> Iterator[None]:
    """Let torch keep compiled kernels in wrnexp's cache folder: a second run loads them instead of compiling.

    torch's default lies in the temporary folder, which a restart empties. `TORCHINDUCTOR_CACHE_DIR` wins where the user
    has set it. On leaving, torch's variables are what they were.
    """
    before = {name: os.environ.get(name) for name in CACHE_VARIABLES}
    if before[CACHE_VARIABLES[0]] is None and (folder := _writable_folder()):
        os.environ[CACHE_VARIABLES[0]] = folder
    try:
        yield
    finally:
        for name, value in before.items():
            _put_back(name, value)


def _writable_folder() -> str | None:
    folder = cache_folder() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # torch's default then
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


def _put_back(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
