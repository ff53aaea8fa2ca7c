"""What becomes of a run that diverges (`trainer.on_divergence`): it stops, skips steps, or goes back."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeVar

from torch import Tensor

from wrnexp.engine.checkpoint import snapshot
from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.divergence import StepFigures, StepReader, broken_logits, broken_weights
from wrnexp.engine.evaluate import Evaluation
from wrnexp.engine.protocols import Batches, TrainingCallbacks
from wrnexp.engine.step import TrainStep, restore_buffers
from wrnexp.errors import DIVERGED_FIGURES, DivergedError
from wrnexp.runs.strict_json import finite

T = TypeVar("T")
State = Mapping[str, Any]

MOST_SKIPPED = 50  # steps in a row, then the run has diverged
MOST_ROLLBACKS = 3  # of a run, then it has diverged
# Steps before the diverged one that a rollback leaves out with it, at most a quarter of an epoch's: the batches that
# led to a spike, as in PaLM (Chowdhery et al., 2022, arXiv 2204.02311, section 5.1).
LEFT_OUT_BEFORE = 10
MOST_RECOVERIES = 100  # that are recorded

ADVICE = "lower optim.lr, lengthen optim.schedule.warmup_epochs or set optim.clip_norm"


class _RollBack(Exception):  # noqa: N818  # control flow within `DivergenceGuard.run`
    """The epoch is to be repeated from its start."""


class DivergenceGuard:
    """Watches the steps and the ends of epochs of one run, and acts where it diverges.

    The decision is the same in all processes, at the same step. Results do not depend on when a step is looked at: with
    `skip` that is before it is applied, and a rollback discards all that came after it.

    Args:
        action: `stop`, `skip` or `rollback`.
        step: the training step; its state is what a rollback restores.
        batches: the loader.
        ranks: the processes that share the run.
        watcher: its `on_recoveries` is called.
        by_design: names of tensors that are not finite before training.
    """

    def __init__(
        self,
        action: str,
        step: TrainStep,
        batches: Batches,
        ranks: Ranks,
        watcher: TrainingCallbacks,
        by_design: Collection[str] = (),
    ) -> None:
        self._action, self._step, self._batches, self._ranks = action, step, batches, ranks
        self._watcher = watcher
        self._reader = StepReader(step.hardware.device, ranks)
        self._by_design = by_design
        self._current = self._steps = 0  # number of the step under way; steps of an epoch
        self._latest = StepFigures(0)  # that was looked at
        self._diverged: StepFigures | None = None  # the first diverged step that was applied
        self._buffers: dict[str, Tensor] = {}  # of the model before the step under way
        self._first_skipped: StepFigures | None = None  # of the skipped steps in a row
        self._epoch_start: State | None = None  # of the training step, for rollbacks
        self._left_out: set[int] = set()
        self._rollbacks = 0
        self._recoveries: list[dict[str, Any]] = []
        self._new_recovery = False
        self._checkpointed = "no checkpoint was saved before it"

    def run(self, train: Callable[[], T], roll_back: Callable[[], None]) -> T:
        """Return what `train` returns, which trains and evaluates one epoch; call it again after each rollback.

        Args:
            train: raises what `check` and `check_end` raise.
            roll_back: called between two calls of `train`; it must call `restore`.
        """
        if self._action == "rollback" and self._epoch_start is None:
            self._epoch_start = snapshot(self._step.state_dict())
        while True:
            try:
                trained = train()
            except _RollBack:
                pass  # its frames hold the loader's iterator, which must be closed before the next one is opened
            else:
                self._epoch_start = None
                return trained
            roll_back()

    def restore(self) -> None:
        """Put the training step back to the start of the epoch."""
        assert self._epoch_start is not None
        self._step.load_state_dict(snapshot(self._epoch_start))  # a copy: an optimizer keeps the tensors that it loads
        self._reader.drop()
        self._diverged = None

    def begin(self, epoch: int, index: int) -> bool:
        """Called before each step; `epoch` and `index` count from 0. False: the step is to be left out."""
        self._steps = len(self._batches.plan)
        self._current = epoch * self._steps + index + 1
        if self._action == "skip":
            self._buffers = {name: buffer.clone() for name, buffer in self._step.model.named_buffers()}
        return self._current not in self._left_out

    def applies(self, figures: Tensor) -> bool:
        """Called with each step's gradients, before they are applied. False: the step is skipped.

        With `skip` it waits for the device. A skipped step leaves the model's buffers as they were before the forward
        pass.

        Args:
            figures: as for `StepReader.add`.
        """
        self._look(self._reader.add(self._current, figures))
        if self._action != "skip":
            return True
        self._look(self._reader.rest())
        if not self._latest.diverged:
            self._first_skipped = None
            return True
        restore_buffers(self._step.model, self._buffers)
        self._first_skipped = self._first_skipped or self._latest
        self._recover(self._latest)
        return False

    def check(self, applied: int | None = None) -> None:
        """Called after each step, and at the end of an epoch, where it waits for the device.

        Args:
            applied: at the end of an epoch its steps that were applied.

        Raises:
            DivergedError: a step has diverged, too many in a row were skipped, or none of an epoch was applied.
        """
        if applied is not None:
            self._look(self._reader.rest())
        if self._diverged is not None:
            self._act(self._diverged.reason, self._diverged)
        self._report()
        if (first := self._first_skipped) is not None:
            count = self._current - first.step + 1
            if count >= MOST_SKIPPED or applied == 0:
                self._stop(f"{count} steps in a row were skipped; {first.reason}", first)
        if applied == 0:
            self._stop("every step is left out after rollbacks", self._last_step(self._current))

    def check_end(
        self, epoch: int, val: Evaluation | None = None, test: Evaluation | None = None, *, final: bool = False
    ) -> None:
        """Called after an epoch, before and after its evaluations. Waits for the device; every process must call it.

        Args:
            epoch: counted from 0.
            val: on the validation images; None where it was not made, as for `test`.
            test: on the test images.
            final: the evaluations are of the final weights.

        Raises:
            DivergedError: weights or losses are not finite; of the final weights also what `broken_logits` says.
        """
        self._steps = len(self._batches.plan)
        evaluations = {"validation": val, "test": test}.items()
        reasons = [
            broken_weights(self._step.state_dict(), self._ranks, self._by_design),
            *(broken_logits(split, evaluation, final=final) for split, evaluation in evaluations if evaluation),
        ]
        if reason := next(filter(None, reasons), None):
            self._act(reason, self._first_skipped or self._last_step((epoch + 1) * self._steps))

    def sound(self) -> bool:
        """True if the state has not diverged and may be saved. Waits for the device; every process must call it."""
        self._look(self._reader.rest())
        return self._diverged is None and not broken_weights(self._step.state_dict(), self._ranks, self._by_design)

    def on_save(self, state: State) -> None:
        """Called with each state that is saved as a checkpoint, or loaded."""
        epochs, steps = len(state["rows"]), state.get("progress", {}).get("steps", 0)
        end = f"step {steps} of epoch {epochs + 1}" if steps else f"the end of epoch {epochs}"
        self._checkpointed = f"the last good checkpoint goes up to {end if epochs or steps else 'the start'}"

    def state_dict(self, *, within_epoch: bool = False) -> dict[str, Any]:
        """Return what resuming needs; within an epoch with the state at its start. Empty with `stop`."""
        if self._action == "stop":
            return {}
        state = {
            "left_out": sorted(self._left_out),
            "rollbacks": self._rollbacks,
            "recoveries": self._recoveries,
            "first_skipped": None if self._first_skipped is None else vars(self._first_skipped),
            "epoch_start": self._epoch_start if within_epoch else None,
        }
        return {"divergence": state}

    def load_state_dict(self, state: State) -> None:
        """Resume from a checkpoint's state."""
        self.on_save(state)
        self._steps, progress = len(self._batches.plan), state.get("progress", {})
        self._current = len(state["rows"]) * self._steps + progress.get("steps", 0)
        if (saved := state.get("divergence")) is None:  # with `stop` there is none
            return
        self._left_out, self._rollbacks = set(saved["left_out"]), saved["rollbacks"]
        self._recoveries, first = list(saved["recoveries"]), saved["first_skipped"]
        self._first_skipped = None if first is None else StepFigures(**first)
        self._epoch_start = saved["epoch_start"]
        if self._recoveries:
            self._watcher.on_recoveries(self._recoveries, resumed=True)

    def _look(self, steps: list[StepFigures]) -> None:
        for step in steps:
            self._latest = step
            if step.diverged and self._action != "skip":
                self._diverged = self._diverged or step

    def _last_step(self, number: int) -> StepFigures:
        """Return what is known of an epoch's last step, which is blamed for what is noticed at its end."""
        return self._latest if self._latest.step == number else StepFigures(number)

    def _act(self, reason: str, figures: StepFigures) -> NoReturn:
        """Roll back where that is asked for and possible, else stop."""
        self._diverged = figures
        if self._action != "rollback" or self._epoch_start is None:
            self._stop(reason, figures)
        if self._rollbacks == MOST_ROLLBACKS:
            self._stop(f"after {MOST_ROLLBACKS} rollbacks {reason}", figures)
        first_of_epoch = (figures.step - 1) // self._steps * self._steps + 1
        before = min(LEFT_OUT_BEFORE, self._steps // 4)
        self._rollbacks += 1
        self._left_out |= set(range(max(first_of_epoch, figures.step - before), figures.step + 1))
        self._recover(figures)
        self._report()
        raise _RollBack

    def _stop(self, reason: str, figures: StepFigures) -> NoReturn:
        if (first := self._first_skipped) is not None:  # training has not recovered from these
            self._recoveries = [recovery for recovery in self._recoveries if recovery["step"] < first.step]
            self._watcher.on_recoveries(self._recoveries, resumed=True)
        epoch, index = divmod(figures.step - 1, self._steps)
        described = self._described(figures, "stop")
        advice = ADVICE + (", or use trainer.on_divergence=skip or rollback" if self._action == "stop" else "")
        raise DivergedError(
            f"{reason} in epoch {epoch + 1}, step {index + 1} of {self._steps}{DIVERGED_FIGURES}{figures.step} of the "
            f"run; loss {figures.loss:.4g}, gradient norm {figures.grad_norm:.4g}, learning rate "
            f"{described['lr']:.4g}): {advice}; {self._checkpointed}",
            described,
        )

    def _described(self, figures: StepFigures, action: str) -> dict[str, Any]:
        """Return the fields of `records.Divergence`."""
        rate = self._step.recipe.learning_rate(figures.step - 1, self._steps)
        fields = {"step": figures.step, "lr": rate, "grad_norm": figures.grad_norm, "loss": figures.loss}
        return {**finite(fields), "action": action}

    def _recover(self, figures: StepFigures) -> None:
        if len(self._recoveries) < MOST_RECOVERIES:
            self._recoveries.append(self._described(figures, self._action))
            self._new_recovery = True

    def _report(self) -> None:
        if self._new_recovery:
            self._new_recovery = False
            self._watcher.on_recoveries(self._recoveries)
