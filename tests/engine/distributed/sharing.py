"""One of two processes that share batch norms and trainings: `RANK=0 ... python sharing.py FOLDER`; see test_ranks.py.

All is in float64, where what processes compute differs from what one computes by nothing that rounding can hide.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wrnexp.engine import Checkpoints, Trainer
from wrnexp.engine.distributed.batch_norm import shared_norms
from wrnexp.engine.distributed.ranks import AgreedSignalGuard, Ranks, joined
from wrnexp.engine.evaluate import Splits
from wrnexp.engine.trainer import TrainResult
from wrnexp.errors import DivergedError, Stopped
from wrnexp.models import WideResNet
from wrnexp.optim import Cosine, SGDRecipe, averaged
from wrnexp.process.signals import TimeLimit
from wrnexp.process.torchrun import process_rank
from wrnexp.tensors import share, step_plan

CLASSES, IMAGES = 5, 26
NORM_SIZES = (8, 7, 1, 5)  # of batches; of 1 image one process gets none
# Steps of two micro-batches, the last step of one, whose images two processes cannot share evenly.
PLAIN: dict[str, Any] = {"batch_size": 5, "accumulate": 2, "clip_norm": None, "ema": None, "dropout": 0.0}
TRAININGS: dict[str, dict[str, Any]] = {
    "accumulated": {},
    "one micro-batch a step, the last of one image": {"accumulate": 1},
    "clipped and averaged": {"clip_norm": 0.1, "ema": 0.9},
    "recomputed": {"memory_budget": 0.5},
    # 26 images by 9 end with 8: 4 for each process, of whose full batches one has 4 images and one 5.
    "compiled and recomputed": {"memory_budget": 0.5, "compile": True, "batch_size": 9, "accumulate": 1},
}
POISONED: dict[str, Any] = {"accumulate": 1, "ema": 0.9, "poisoned": 2}  # step 9 of the run, 3 of 6 in epoch 2
DROPPING: dict[str, Any] = {"accumulate": 1, "dropout": 0.3, "ema": 0.9}


@dataclass
class Batches:
    """A process's shares of the micro-batches of fixed images in an order that depends on the epoch."""

    batch_size: int
    accumulate: int
    ranks: Ranks
    poisoned: int | None = None  # a micro-batch of epoch 1, counted from 0, whose last image is NaN

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.images = torch.randn(IMAGES, 3, 8, 8, generator=generator, dtype=torch.float64)
        self.labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
        self.plan = step_plan(IMAGES, self.batch_size, self.accumulate)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(epoch))
        for index, micro_batch in enumerate(torch.split(order, [size for step in self.plan for size in step])):
            own = micro_batch[share(len(micro_batch), self.ranks.rank, self.ranks.count)]
            images = self.images[own]
            if epoch == 1 and index == self.poisoned and self.ranks.rank == self.ranks.count - 1:
                images[-1] = math.nan
            yield images, self.labels[own]

    def dealt(self) -> list[tuple[Tensor, Tensor]]:
        parts = zip(torch.split(self.images, 4), torch.split(self.labels, 4), strict=True)
        return list(parts)[self.ranks.rank :: self.ranks.count]


@dataclass
class Watcher:
    """Has a signal heard, or the time run out, in one process alone, when so many steps are done."""

    stop: AgreedSignalGuard | None = None
    after: int = 0
    seen: int = 0
    limit: bool = False
    recoveries: list[dict[str, Any]] = field(default_factory=list)

    def on_start(self, *seconds: float | None) -> None:
        pass

    def on_resume(self, rows: list[Any]) -> None:
        pass

    def on_step(self, epoch: int, step: int) -> None:
        self.seen += 1
        if self.stop is not None and self.seen == self.after:
            if self.limit:
                self.stop._limit = TimeLimit(60.0, "trainer.max_seconds", ends=0.0)
            else:
                self.stop._asked = Stopped(15)

    def on_epoch(self, rows: list[Any]) -> None:
        pass

    def on_recoveries(self, recoveries: list[dict[str, Any]], *, resumed: bool = False) -> None:
        self.recoveries = list(recoveries)


def trainer(folder: Path, ranks: Ranks, **changes: Any) -> Trainer:
    """Return a training of three epochs, of which this process does its share."""
    values = PLAIN | changes
    batches = Batches(values["batch_size"], values["accumulate"], ranks, values.get("poisoned"))
    torch.manual_seed(0)
    model = WideResNet(10, 1, values["dropout"], 0.0, num_classes=CLASSES).double()
    recipe = SGDRecipe(
        epochs=3, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3, decay_norm_and_bias=True,
        label_smoothing=0.1, accumulate=values["accumulate"], clip_norm=values["clip_norm"],
        schedule=Cosine(warmup_epochs=1),
    )  # fmt: skip
    more = {"stop": values["stop"]} if "stop" in values else {}
    return Trainer(
        device="cpu", precision="fp32", channels_last=True, compile=values.get("compile", False), cuda_graphs=None,
        ema=values["ema"],
        memory_budget=values.get("memory_budget", 1.0), test_every=1, model=model, recipe=recipe, batches=batches,
        splits=Splits(batches.dealt()), average=averaged, checkpoints=Checkpoints(folder / "checkpoints"),
        watcher=values.get("watcher", Watcher()), seed=3, ranks=ranks, **more,
        on_divergence=values.get("action", "stop"),
    )  # fmt: skip


def left(training: Trainer, outcome: TrainResult) -> dict[str, Any]:
    """Return all that a training leaves."""
    recoveries = training.watcher.recoveries  # type: ignore[attr-defined]
    return {
        "rows": outcome.rows,
        "recoveries": recoveries,
        "logits": outcome.test.logits,
        "state": training.step.state_dict(),
    }


def trained(folder: Path, ranks: Ranks, **changes: Any) -> dict[str, Any]:
    training = trainer(folder, ranks, **changes)
    return left(training, training.fit())


def stopped(folder: Path, ranks: Ranks, *, after: int = 8, limit: bool = False, **changes: Any) -> dict[str, Any]:
    """Train until one process has heard a signal or seen the limit pass; return what each process kept of it."""
    stop = AgreedSignalGuard(ranks, limit=TimeLimit.from_now(60.0, "trainer.max_seconds") if limit else None)
    watcher = Watcher(None if ranks.is_main else stop, after, limit=limit)
    training = trainer(folder, ranks, stop=stop, watcher=watcher, **changes)
    try:
        training.fit()
    except Stopped as error:
        return {"kept": error.checkpointed, "seen": watcher.seen, "why": str(error), "code": error.code}
    return {"seen": watcher.seen}


def diverged(folder: Path, ranks: Ranks, **changes: Any) -> dict[str, Any]:
    """Train until the run diverges; return what this process says about it, after so many steps."""
    watcher = Watcher()
    try:
        trained(folder, ranks, watcher=watcher, **changes)
    except DivergedError as error:
        return {"message": str(error), "divergence": error.divergence, "seen": watcher.seen}
    return {}


def norm(channels: int = 4) -> nn.BatchNorm2d:
    """Return a batch norm with weights and statistics of no particular value."""
    made = nn.BatchNorm2d(channels).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in (*made.parameters(), made.running_mean, made.running_var):
            assert value is not None
            value.copy_(torch.rand(channels, generator=generator, dtype=torch.float64) + 0.5)
    return made


def normed(module: nn.Module, sizes: tuple[int, ...], ranks: Ranks) -> list[dict[str, Tensor]]:
    """Return results and gradients of batches, those of this process's images alone, and what the norm remembers."""
    generator, found = torch.Generator().manual_seed(6), []
    for size in sizes:
        images = torch.randn(size, 4, 3, 2, generator=generator, dtype=torch.float64)
        factors = torch.randn(size, 4, 3, 2, generator=generator, dtype=torch.float64)
        own = share(size, ranks.rank, ranks.count)
        inputs = images[own].clone().requires_grad_()
        module.zero_grad()
        result = module(inputs)
        (result * factors[own]).sum().backward()
        gradients = {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}
        buffers = {name: value.clone() for name, value in module.named_buffers()}
        assert inputs.grad is not None
        found.append({"result": result.detach(), "inputs": inputs.grad} | gradients | buffers)
    return found


@contextmanager
def graphs_as_they_are() -> Iterator[None]:
    """Let torch.compile trace networks to graphs and run those uncompiled, which takes seconds less."""
    compile = torch.compile
    torch.compile = lambda model, **options: compile(model, backend="eager", fullgraph=True, dynamic=False)  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compile


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    here = process_rank()
    assert here is not None
    with joined(here) as ranks, graphs_as_they_are():
        found: dict[str, Any] = {name: trained(folder / name, ranks, **one) for name, one in TRAININGS.items()}
        found["norm"] = normed(shared_norms(norm()), NORM_SIZES, ranks)
        found["undisturbed"] = trained(folder / "undisturbed", ranks, **DROPPING)
        found["stopped"] = stopped(folder / "stopped", ranks, **DROPPING)
        found["resumed"] = trained(folder / "stopped", ranks, **DROPPING)
        found["out of time"] = stopped(folder / "out of time", ranks, limit=True, **DROPPING)
        found["finished in time"] = stopped(folder / "out of time", ranks, after=6, limit=True, **DROPPING)
        found["stopped for one"] = stopped(folder / "for one", ranks, accumulate=1)
        found["from one"] = trained(folder / "from one", ranks, accumulate=1)
        for action in ("skip", "rollback"):
            found[action] = trained(folder / action, ranks, action=action, **POISONED)
        recovering = {"action": "rollback", **POISONED}
        found["rollback stopped"] = stopped(folder / "rollback stopped", ranks, after=14, **recovering)
        found["rollback resumed"] = trained(folder / "rollback stopped", ranks, **recovering)
        found["diverged"] = diverged(folder / "diverged", ranks, **POISONED)
        found["gathered"] = ranks.all_gather(ranks.rank)
        found["from first"] = ranks.broadcast_object(ranks.rank)
    torch.save(found, folder / f"{ranks.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
