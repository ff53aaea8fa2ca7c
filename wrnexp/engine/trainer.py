"""Training: epochs of steps, each followed by evaluations, a checkpoint and a row of the log."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any

import torch
from torch import nn

from wrnexp.engine.checkpoint import Checkpoints
from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.divergence import not_finite
from wrnexp.engine.divergence_guard import DivergenceGuard
from wrnexp.engine.evaluate import Evaluation, Evaluator
from wrnexp.engine.evaluate import Splits as Splits  # one of the trainer's arguments
from wrnexp.engine.hardware import Hardware
from wrnexp.engine.memory import out_of_memory
from wrnexp.engine.meters import CpuTimer
from wrnexp.engine.progress import Progress
from wrnexp.engine.protocols import Batches, Row, TrainingCallbacks
from wrnexp.engine.step import Average, Batch, Recipe, TrainStep
from wrnexp.errors import Stopped, TrainingError, UserError, one_line
from wrnexp.process.signals import SignalGuard
from wrnexp.seeding import derive
from wrnexp.tensors import preserve_rng_state


@dataclass(frozen=True)
class TrainResult:
    """Rows of all epochs, logits of the final weights on the test and validation images, and the model.

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
    watcher: TrainingCallbacks
    seed: int
    about: Callable[[int], dict[str, Any]] = lambda epochs: {}  # what a checkpoint says of its run, by epochs begun
    macs_per_image: int | None = None  # multiply-adds of a forward pass
    stop: SignalGuard = field(default_factory=SignalGuard)  # what may tell it to end
    devices: int | str = 1  # of the config; `ranks` says what became of it
    sync_batchnorm: bool = True  # of the config
    on_divergence: str = "stop"  # or "skip", "rollback"
    checkpoint_seconds: float | None = None
    max_seconds: float | None = None  # of the config; `stop` has the limit
    ranks: Ranks = field(default_factory=Ranks)
    started: float = field(default_factory=time.perf_counter)  # when this process began to work on the run

    rows: list[Row] = field(default_factory=list, init=False)
    progress: Progress | None = field(default=None, init=False)  # of the epoch under way
    # Of all processes, {"start", "compile"}; None: the checkpoint of an earlier version does not tell.
    seconds_before: dict[str, float] | None = field(default_factory=lambda: {"start": 0.0, "compile": 0.0}, init=False)
    _mid_epoch: dict[str, Any] | None = field(default=None, init=False)  # where an earlier process stopped in an epoch
    _opened: tuple[Progress, Iterator[Batch]] | None = field(default=None, init=False)  # this process's first epoch
    _checkpoint_seconds: float = field(default=0.0, init=False)  # that training waited for since the last row

    def __post_init__(self) -> None:
        flop = 6 * self.macs_per_image * self.batches.plan[0][0] if self.macs_per_image else None
        least = min(min(step) for step in self.batches.plan)
        if least < self.ranks.count and not self.sync_batchnorm:
            raise UserError(
                f"trainer.sync_batchnorm=false needs an image for each of the {self.ranks.count} devices in every "
                f"micro-batch, and one has {least}: use loader.drop_last=true, or another loader.batch_size"
            )
        self.checkpoints.seconds = self.checkpoint_seconds
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
        self.evaluator = Evaluator(self.step.average.model, self.splits, self.hardware, self.ranks)
        by_design = not_finite(self.step.state_dict(), self.ranks)
        self.guard = DivergenceGuard(self.on_divergence, self.step, self.batches, self.ranks, self.watcher, by_design)

    def fit(self) -> TrainResult:
        """Train from the last checkpoint, or from the start, to the last epoch.

        Raises:
            UserError: the checkpoint is not of this model.
            DivergedError: training diverged and has not recovered.
            TrainingError: memory ran out, or a checkpoint cannot be written.
            Stopped: a signal or a time limit ends the process; the checkpoint holds every completed step.
        """
        try:
            return self._fit_or_explain()
        finally:
            self.checkpoints.close()  # also after an error: the last epoch may not be on disk yet

    def _fit_or_explain(self) -> TrainResult:
        try:
            with self.hardware.settings():
                return self._fit()
        except Stopped as stopped:
            self._save_mid_epoch(stopped)
            raise
        except (RuntimeError, MemoryError) as error:
            message = out_of_memory(error, self.memory_budget)
            if message is None:
                raise
        # Not in the handler: as its context the error would hold on to what its frames hold, all the activations.
        raise TrainingError(message)

    def _fit(self) -> TrainResult:
        self._resume()
        self._start()
        self.hardware.reset_peak_memory()
        test = val = None
        for epoch in range(len(self.rows), self.recipe.epochs):
            row, val, test = self.guard.run(partial(self._train_and_evaluate, epoch), self._roll_back)
            with self.stop.deferred():
                self._end_epoch(row, val, test)
        test, val = test or self.evaluator.test(), val or self.evaluator.validate()
        self.guard.check_end(self.recipe.epochs - 1, val, test, final=True)
        return TrainResult(self.rows, test, val, self.step.average.model, self.evaluator.test_looks)

    def _train_and_evaluate(self, epoch: int) -> tuple[Row, Evaluation | None, Evaluation | None]:
        """Return the epoch's row, and the evaluations on validation and test set that were made after it."""
        row = self.train_epoch(epoch)
        self.guard.check_end(epoch)
        evaluated = self.evaluator.seconds
        val = self.evaluator.validate()
        test = self.evaluator.test() if self._should_test(epoch) else None
        row["evaluation_seconds"] = self.evaluator.seconds - evaluated
        self.guard.check_end(epoch, val, test, final=epoch + 1 == self.recipe.epochs)
        return row, val, test

    def _roll_back(self) -> None:
        """Return to the start of the epoch under way, and keep which of its steps are left out from now on."""
        assert self.progress is not None
        with self.stop.deferred():
            self.progress = self.progress.from_start()
            self.guard.restore()
            self._save(self._state())
        self._opened = self.progress, self._open(self.progress)

    def _start(self) -> None:
        """Open the first epoch of this process, up to its first batch, and compile: all that comes before the clock."""
        compiling = CpuTimer()
        if len(self.rows) < self.recipe.epochs:
            with compiling:
                if self._compiles and (warm_up := getattr(self.batches, "warm_up", None)) is not None:
                    warm_up()
            progress = self._new_progress(len(self.rows))
            batches = self._open(progress)
            first = list(islice(batches, 1))  # worker processes have started once it is there
            with compiling:
                if self._compiles:
                    self._warm_up(progress.epoch, first)
            self._opened = progress, chain(first, batches)
        if self.seconds_before is not None:
            self.seconds_before["start"] += time.perf_counter() - self.started - compiling.seconds
            self.seconds_before["compile"] += compiling.seconds
        seconds = self.seconds_before or {}
        self.watcher.on_start(seconds.get("start"), seconds.get("compile"))

    @property
    def _compiles(self) -> bool:
        """True if the first batch of a size costs more than others: kernels are compiled, or cuDNN tries algorithms."""
        return self.hardware.compile or self.hardware.device.type == "cuda"

    def _warm_up(self, epoch: int, first: list[Batch]) -> None:
        """Run steps and evaluations on throwaway batches.

        Args:
            epoch: the one that is open.
            first: its next batch; none where an earlier process has made all its steps.
        """
        with preserve_rng_state(self.hardware.device):  # loaders and splits of a user's own may draw from them
            like = (first or list(islice(self.batches.epoch(epoch), 1)))[0]
            self.step.warm_up(like, sorted({size for step in self.batches.plan for size in step}, reverse=True))
            self.evaluator.warm_up()

    def train_epoch(self, epoch: int) -> Row:
        """Train one epoch, or what is left of it, and return its row of the log, without evaluations."""
        plan = self.batches.plan
        if self._opened is None:
            progress = self._new_progress(epoch)
            batches = progress.start(lambda: self._open(progress))
        else:
            (progress, opened), self._opened = self._opened, None
            batches = progress.start(lambda: opened)
        self.step.model.train()
        for index, sizes in enumerate(plan[progress.steps :], progress.steps):
            with self.stop.deferred(timed=(epoch + 1, index + 1) < (self.recipe.epochs, len(plan))), progress.a_step():
                micro_batches = islice(batches, len(sizes))
                if self.guard.begin(epoch, index):
                    self.step(micro_batches, sizes, self._rate(epoch, index), progress.meters)
                else:
                    deque(micro_batches, maxlen=0)
            self.guard.check()
            self.watcher.on_step(epoch, index + 1)
            # Several processes would have to agree on the moment.
            if self.ranks.count == 1 and index + 1 < len(plan) and self.checkpoints.due_within_epoch():
                self.hardware.synchronize()  # steps that are under way count as training
                with self.stop.deferred(), progress.paused():
                    self._save_within_epoch(progress)
        row = self._row(progress)
        self.guard.check(applied=progress.meters.steps)
        return row

    def _new_progress(self, epoch: int) -> Progress:
        """Return where an epoch stands: at its start, or where an earlier process stopped in the middle of it."""
        mid_epoch, self._mid_epoch = self._mid_epoch, None
        self.progress = Progress(epoch, self.hardware.device, mid_epoch, self.ranks, self.guard)
        return self.progress

    def _open(self, progress: Progress) -> Iterator[Batch]:
        """Return the batches that are left of an epoch, the generators set."""
        # For dropout: the same whether resumed or not, and of each process its own.
        key_of_rank = () if self.ranks.is_main else (self.ranks.rank, progress.steps)
        torch.manual_seed(derive(self.seed, "train", progress.epoch, *key_of_rank))
        read = sum(map(len, self.batches.plan[: progress.steps]))
        return progress.open(lambda: self.batches.epoch(progress.epoch), read)

    def _rate(self, epoch: int, index: int) -> float:
        steps = len(self.batches.plan)
        return self.recipe.learning_rate(epoch * steps + index, steps)

    def _row(self, progress: Progress) -> Row:
        epoch, means, seconds = progress.epoch, progress.meters.read(), progress.end()
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
            "evaluation_seconds": 0.0,
            "checkpoint_seconds": 0.0,
        }

    def _should_test(self, epoch: int) -> bool:
        """Say whether this epoch reads the test set; the last one always does."""
        return epoch + 1 == self.recipe.epochs or bool(self.test_every and (epoch + 1) % self.test_every == 0)

    def _end_epoch(self, row: Row, val: Evaluation | None, test: Evaluation | None) -> None:
        """Close the epoch: its row, the checkpoint, then the watcher; a kill in between loses nothing."""
        if val is not None:
            row |= {"val_loss": val.loss, "val_accuracy": val.accuracy}
        if test is not None:
            row |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
        value = row["val_accuracy"]
        best = value is not None and all(value > old["val_accuracy"] for old in self.rows)
        row["checkpoint_seconds"], self._checkpoint_seconds = self._checkpoint_seconds, 0.0
        self.rows.append(row)
        self.progress = None
        self._save(self._state(), best=best)
        self.watcher.on_epoch(self.rows)

    def _state(self) -> dict[str, Any]:
        """Return all that a checkpoint holds between epochs."""
        looks = {"test_looks": self.evaluator.test_looks, "seconds_before": self.seconds_before}
        about = {"run": self.about(len(self.rows) + (self.progress is not None))}
        return self.step.state_dict() | looks | about | {"rows": self.rows} | self.guard.state_dict()

    def _save_mid_epoch(self, stopped: Stopped) -> None:
        """Save the state within the epoch under way, if no step of it was broken off."""
        if self.progress is None or not self.progress.whole or not self.progress.steps or not self.stop.agreed:
            return
        if self._save_within_epoch(self.progress):
            steps, epoch = len(self.batches.plan), self.progress.epoch + 1
            stopped.checkpointed = f"up to step {self.progress.steps} of {steps} in epoch {epoch}"

    def _save_within_epoch(self, progress: Progress) -> bool:
        """Save the state within an epoch, unless it has diverged; say whether it was saved."""
        if sound := self.guard.sound():
            self._save(self._state() | {"progress": progress.state_dict()} | self.guard.state_dict(within_epoch=True))
        return sound

    def _save(self, state: dict[str, Any], *, best: bool = False) -> None:
        start = time.perf_counter()
        if self.ranks.is_main:
            self.checkpoints.update(state, best=best)
        self.guard.on_save(state)
        self._checkpoint_seconds += time.perf_counter() - start

    def _resume(self) -> None:
        # The first process's: the others may be on a machine that does not see the run's folder.
        state = self.ranks.broadcast_object(self.checkpoints.take() if self.ranks.is_main else None)
        if state is None:
            return
        try:
            self.step.load_state_dict(state)
            self.rows, self.evaluator.test_looks = list(state["rows"]), state["test_looks"]
            self.guard.load_state_dict(state)
            self.seconds_before = state.get("seconds_before")  # absent from those of earlier versions
            self._mid_epoch = state.get("progress")  # absent from a checkpoint between epochs
            if self.rows:
                self.watcher.on_resume(self.rows)
        except (LookupError, AttributeError, TypeError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.checkpoints.opened} does not fit this model ({one_line(error)}): another version of the "
                f"program wrote it; move {self.checkpoints.last.parent} away to train from the start, or use rerun=true"
            ) from error
