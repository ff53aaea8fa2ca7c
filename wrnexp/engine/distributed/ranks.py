"""The processes that share one run, one a device: what they add up, tell each other, and agree on."""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from wrnexp.errors import TIME_LIMIT, Stopped, UserError
from wrnexp.process.signals import GRACE, SignalGuard, TimeLimit
from wrnexp.process.torchrun import ProcessRank

T = TypeVar("T")

# How long a process waits for the others: longer than any of them compiles or writes a checkpoint, and an end to a run
# in which one hangs.
TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Ranks:
    """A process's place among those that share a run; alone by default, where nothing is sent.

    What is sent must be sent by all of them, in the same order.

    Attributes:
        rank: among all, from 0; the first writes and speaks for the run.
        count: of all.
        local: among those of this machine, from 0.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks for the run."""
        return self.rank == 0

    def device(self, asked: str) -> str:
        """Return the device of this process, as `trainer.device` names them.

        Args:
            asked: `trainer.device`.

        Raises:
            UserError: this machine has no GPU for it, or the device cannot be shared out.
        """
        if self.count == 1:
            return asked
        if asked == "mps" or ":" in asked:
            raise UserError(f"trainer.device={asked} is one device, for one process; use cuda or cpu with several")
        if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
            return "cpu"
        if self.local >= torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise UserError(f"process {self.local + 1} on this machine finds no GPU of its own: {there} are visible")
        torch.cuda.set_device(self.local)  # for what asks no tensor where it is: streams, NCCL
        return f"cuda:{self.local}"

    def all_reduce_(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place, and return it."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def all_gather(self, value: T) -> list[T]:
        """Return what each process has, by rank; tensors must be on the CPU."""
        gathered: list[Any] = [value]
        if self.count > 1:
            gathered = [None] * self.count
            dist.all_gather_object(gathered, value)
        return gathered

    def broadcast_object(self, value: T | None) -> T | None:
        """Return what the first process has; tensors must be on the CPU. What others pass is not looked at."""
        objects = [value]
        if self.count > 1:
            dist.broadcast_object_list(objects, src=0)
        return objects[0]

    def broadcast_(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors to what they are in the first process."""
        for tensor in tensors if self.count > 1 else ():
            dist.broadcast(tensor, src=0)

    def wrap_ddp(self, forward: Any) -> Any:
        """Return `forward` such that a backward pass leaves the mean over the processes of their gradients.

        Gradients are sent during the backward pass, in buckets of 25 MiB (Li et al., "PyTorch Distributed:
        Experiences on Accelerating Data Parallel Training", 2020).

        Args:
            forward: the model, or a module around it. An empty share of a micro-batch must run uncompiled: nothing in
                its graph depends on anything, so the compiler would send what other processes wait for in an order of
                its own.
        """
        if self.count == 1:
            return forward
        # Of buffers those of batch norm are equal already, or each process's own (`trainer.sync_batchnorm=false`).
        return DistributedDataParallel(forward, gradient_as_bucket_view=True, **_NO_BUFFERS)

    def no_sync(self, network: Any, *, last: bool) -> AbstractContextManager[None]:
        """Return the context of one micro-batch, forward and backward: only the last one of a step sends gradients."""
        if self.count == 1 or last:
            return nullcontext()
        context: AbstractContextManager[None] = network.no_sync()
        return context


_RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters  # torch 2.13
_NO_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}


@contextmanager
def joined(here: ProcessRank) -> Iterator[Ranks]:
    """Be one of the processes that torchrun, or wrnexp itself, started for a run.

    Gradients go over NCCL between GPUs; what is of the host (Gloo) never waits for one.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    yield Ranks(here.rank, here.count, here.local)
    dist.destroy_process_group()  # after an error the others may be gone, and the process is about to end anyway


class AgreedSignalGuard(SignalGuard):
    """Stops all processes after the same step, whichever received the signal; else the others would wait for it.

    At the end of each step the processes send what tells them to end, as an exit code, and look at what was sent a step
    ago: the message travels while a step is computed, and no GPU is waited for. So a run ends after the step that
    follows. A signal goes before a time limit, which is noticed by one process first.
    From its first step on a signal breaks off nothing, evaluations neither, unless `grace` seconds were not enough.

    Args:
        ranks: the processes.
        grace: in seconds.
        limit: None for none.
    """

    agreed = False

    def __init__(self, ranks: Ranks, grace: float = GRACE, limit: TimeLimit | None = None) -> None:
        super().__init__(grace, limit)
        self._ranks = ranks
        self._sent: tuple[Tensor, Any] | None = None

    @contextmanager
    def deferred(self, *, timed: bool = False) -> Iterator[None]:
        """Let a block end, in all processes, before `Stopped` is raised in all of them."""
        self._held = True
        try:
            yield
        except Exception as error:
            if self._asked is not None:
                raise self._tell() from error
            raise
        code = self._code_of_any()
        if code > TIME_LIMIT or (code and timed):
            self.agreed = True
            self._asked = self._asked or Stopped(*((code - 128,) if code > TIME_LIMIT else (None, str(self._limit))))
            raise self._tell()

    def _code_of_any(self) -> int:
        """Return the exit code that some process had a reason for a step ago; 0 where none had."""
        before = self._sent
        timed_out = TIME_LIMIT if self._out_of_time() else 0
        code = torch.tensor(timed_out if self._asked is None else self._asked.code, dtype=torch.int32)
        self._sent = code, dist.all_reduce(code, dist.ReduceOp.MAX, async_op=True)
        if before is None:
            return 0
        before[1].wait()
        return int(before[0])
