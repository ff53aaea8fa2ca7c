"""Training: an epoch of steps, a look at the validation and test sets, a checkpoint, a line in the log; and again."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import nn

from wrnexp.engine.checkpoint import Checkpoints
from wrnexp.engine.evaluate import Evaluation, evaluate
from wrnexp.engine.hardware import Hardware
from wrnexp.engine.memory import out_of_memory
from wrnexp.engine.progress import Progress
from wrnexp.engine.ranks import Ranks
from wrnexp.engine.step import Average, Batch, Recipe, TrainStep
from wrnexp.errors import DivergedError, Stopped, TrainingError, UserError
from wrnexp.seeding import derive
from wrnexp.stopping import Stop

Row = dict[str, Any]


class Batches(Protocol):
    """What training asks of the loader group: micro-batches, and how they fall into steps."""

    @property
    def plan(self) -> list[tuple[int, ...]]:
        """The sizes of the micro-batches of each step of an epoch."""
        ...

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Return the micro-batches of an epoch, counted from 0, in the order of the plan."""
        ...


class Watcher(Protocol):
    """Who is told how training goes."""

    def on_resume(self, rows: list[Row]) -> None:
        """Hear what an earlier process logged, before the first step."""
        ...

    def on_step(self, epoch: int, step: int) -> None:
        """Hear that `step` steps of epoch `epoch` (from 0) are done."""
        ...

    def on_epoch(self, rows: list[Row]) -> None:
        """Hear that an epoch is done; `rows` are the log so far."""
        ...


@dataclass(frozen=True)
class Splits:
    """The batches to evaluate on, each to be iterated over many times. No validation where `val` is None."""

    test: Iterable[Batch]
    val: Iterable[Batch] | None = None


@dataclass(frozen=True)
class Outcome:
    """What training leaves: a row an epoch, the final weights' answers on the test and validation sets, and that model.

    `val` is None without a validation set; `test_looks` counts the readings of the test set, the final one included.
    """

    rows: list[Row]
    test: Evaluation
    val: Evaluation | None
    model: nn.Module
    test_looks: int


@dataclass
class Trainer:
    """Trains one model by one recipe; `wrnexp.app` builds it, `fit` runs it.

    The first block is the config's `trainer` group, the second what exists at run time only.
    """

    device: str
    precision: str
    channels_last: bool | None
    compile: bool | None
    memory_budget: float
    cuda_graphs: bool | None
    ema: float | None
    test_every: int

    model: nn.Module
    recipe: Recipe
    batches: Batches
    splits: Splits
    average: Callable[[nn.Module, float | None], Average]
    checkpoints: Checkpoints
    watcher: Watcher
    seed: int
    macs_per_image: int | None = None  # multiply-adds of a forward pass
    stop: Stop = field(default_factory=Stop)  # what may tell it to end
    devices: int | str = 1  # of the config; `ranks` says what became of it
    sync_batchnorm: bool = True  # of the config
    max_seconds: float | None = None  # of the config; `stop` has the limit
    ranks: Ranks = field(default_factory=Ranks)

    rows: list[Row] = field(default_factory=list, init=False)
    test_looks: int = field(default=0, init=False)
    progress: Progress | None = field(default=None, init=False)  # of the epoch under way
    _kept: dict[str, Any] | None = field(default=None, init=False)  # where an earlier process stopped in an epoch

    def __post_init__(self) -> None:
        flop = 6 * self.macs_per_image * self.batches.plan[0][0] if self.macs_per_image else None
        least = min(min(step) for step in self.batches.plan)
        if least < self.ranks.count and not self.sync_batchnorm:
            raise UserError(
                f"trainer.sync_batchnorm=false needs an image for each of the {self.ranks.count} devices in every "
                f"micro-batch, and one has {least}: use loader.drop_last=true, or another loader.batch_size"
            )
        self.hardware = Hardware.settle(
            self.device, self.precision, self.channels_last, self.compile, self.cuda_graphs, flop
        )
        self.step = TrainStep(
            self.model,
            self.recipe,
            lambda model: self.average(model, self.ema),
            self.hardware,
            self.memory_budget,
            self.ranks,
            self.sync_batchnorm,
        )

    def fit(self) -> Outcome:
        """Train from the last checkpoint, or from the start, to the last epoch.

        Raises:
            UserError: the checkpoint is not of this model.
            TrainingError: the loss is not finite, or memory ran out.
            Stopped: a signal has told the process to end; the checkpoint holds every step that was done.
        """
        try:
            with self.hardware.settings():
                return self._fit()
        except Stopped as stopped:
            self._keep(stopped)
            raise
        except (RuntimeError, MemoryError) as error:
            told = out_of_memory(error, self.memory_budget)
            if told is None:
                raise
        # Not in the handler: as its context the error would hold on to what its frames hold, all the activations.
        raise TrainingError(told)

    def _fit(self) -> Outcome:
        self._resume()
        self.hardware.reset_peak_memory()
        test = val = None
        for epoch in range(len(self.rows), self.recipe.epochs):
            row = self.train_epoch(epoch)
            val = self._validate()
            test = self._test() if self._looks(epoch) else None
            with self.stop.held():
                self._close(row, val, test)
        test, val = test or self._test(), val or self._validate()
        return Outcome(self.rows, test, val, self.step.average.model, self.test_looks)

    def train_epoch(self, epoch: int) -> Row:
        """Train one epoch, or what is left of it, and return its row of the log, without evaluations."""
        plan, progress = self.batches.plan, self._progress(epoch)
        # For dropout: the same whether resumed or not, and of each process its own.
        own = () if self.ranks.first else (self.ranks.rank, progress.steps)
        torch.manual_seed(derive(self.seed, "train", epoch, *own))
        self.step.model.train()
        batches = progress.start(lambda: self.batches.epoch(epoch), read=sum(map(len, plan[: progress.steps])))
        for index, sizes in enumerate(plan[progress.steps :], progress.steps):
            with self.stop.held(timed=(epoch + 1, index + 1) < (self.recipe.epochs, len(plan))), progress.a_step():
                self.step(islice(batches, len(sizes)), sizes, self._rate(epoch, index), progress.meters)
            self.watcher.on_step(epoch, index + 1)
        return self._row(progress)

    def _progress(self, epoch: int) -> Progress:
        """Return where an epoch stands: at its start, or where an earlier process stopped in the middle of it."""
        kept, self._kept = self._kept, None
        self.progress = Progress(epoch, self.hardware.device, kept, self.ranks)
        return self.progress

    def _rate(self, epoch: int, index: int) -> float:
        steps = len(self.batches.plan)
        return self.recipe.learning_rate(epoch * steps + index, steps)

    def _row(self, progress: Progress) -> Row:
        epoch, means, seconds = progress.epoch, progress.meters.read(), progress.end()
        if not math.isfinite(means["train_loss"]):
            raise DivergedError(
                f"the training loss is {means['train_loss']} in epoch {epoch + 1}: a lower optim.lr, a longer "
                "optim.schedule.warmup_epochs or optim.clip_norm may help; the checkpoint is of the epoch before"
            )
        return {
            "epoch": epoch + 1,
            "step": (epoch + 1) * len(self.batches.plan),
            "lr": self._rate(epoch, len(self.batches.plan) - 1),
            "train_loss": means["train_loss"],
            **dict.fromkeys(("val_loss", "val_accuracy", "test_loss", "test_accuracy")),
            "seconds": seconds,
            "images_per_second": progress.meters.images / seconds,
            "data_wait": progress.waited / seconds,
            "grad_norm": means["grad_norm"],
            "clipped": means["clipped"],
            "peak_memory_bytes": self.hardware.peak_memory(),
        }

    def _validate(self) -> Evaluation | None:
        return None if self.splits.val is None else self._evaluate(self.splits.val)

    def _looks(self, epoch: int) -> bool:
        """Say whether this epoch reads the test set; the last one always does."""
        return epoch + 1 == self.recipe.epochs or bool(self.test_every and (epoch + 1) % self.test_every == 0)

    def _test(self) -> Evaluation:
        found = self._evaluate(self.splits.test)
        self.test_looks += 1  # a look that is broken off has told nobody anything
        return found

    def _evaluate(self, batches: Iterable[Batch]) -> Evaluation:
        model = self.step.average.model
        self.ranks.like_first(model.buffers())  # where each has batch statistics of its own, one must be evaluated
        return evaluate(model, batches, self.hardware, self.ranks)

    def _close(self, row: Row, val: Evaluation | None, test: Evaluation | None) -> None:
        """Close the epoch: its row, the checkpoint, then the watcher; a kill in between loses nothing."""
        if val is not None:
            row |= {"val_loss": val.loss, "val_accuracy": val.accuracy}
        if test is not None:
            row |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
        value = row["val_accuracy"]
        best = value is not None and all(value > old["val_accuracy"] for old in self.rows)
        self.rows.append(row)
        self.progress = None
        self._save(self._state(), best=best)
        self.watcher.on_epoch(self.rows)

    def _state(self) -> dict[str, Any]:
        """Return all that a checkpoint holds."""
        return self.step.state_dict() | {"rows": self.rows, "test_looks": self.test_looks}

    def _keep(self, stopped: Stopped) -> None:
        """Write a checkpoint within the epoch under way, where no step of it was broken off."""
        if self.progress is None or not self.progress.whole or not self.progress.steps or not self.stop.agreed:
            return
        self._save(self._state() | {"progress": self.progress.state_dict()}, best=False)
        steps, epoch = len(self.batches.plan), self.progress.epoch + 1
        stopped.kept = f"up to step {self.progress.steps} of {steps} in epoch {epoch}"

    def _save(self, state: dict[str, Any], *, best: bool) -> None:
        if self.ranks.first:
            self.checkpoints.save(state, best=best)

    def _resume(self) -> None:
        # The first process's: the others may be on a machine that does not see the run's folder.
        state = self.ranks.from_first(self.checkpoints.load() if self.ranks.first else None)
        if state is None:
            return
        try:
            self.step.load_state_dict(state)
            self.rows, self.test_looks = list(state["rows"]), state["test_looks"]
            self._kept = state.get("progress")  # absent from a checkpoint between epochs
            if self.rows:
                self.watcher.on_resume(self.rows)
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.checkpoints.last} is not of this model ({str(error).splitlines()[0]}); move it away to train "
                "from the start, or use rerun=true"
            ) from error
