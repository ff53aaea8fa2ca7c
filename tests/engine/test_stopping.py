"""A training that is told to end in the middle of an epoch and goes on, against one that was left alone."""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from wrnexp.engine import Trainer
from wrnexp.engine.evaluate import Splits
from wrnexp.engine.sealed import load_sealed
from wrnexp.engine.trainer import TrainResult
from wrnexp.errors import Stopped
from wrnexp.process.signals import SignalGuard, TimeLimit
from wrnexp.runs.record import MEASURED

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")

Make = Callable[..., Any]
STEPS = 4  # an epoch of the shared training has


def told(trainer: Trainer) -> TrainResult:
    """Train with signals heard, as the app does."""
    with trainer.stop.listening():
        return trainer.fit()


def differences(ours: Trainer, found: TrainResult, theirs: Trainer, expected: TrainResult) -> list[str]:
    """Return what is not equal bit for bit in weights, averages, momentum, rows and answers."""
    pairs = {"logits": (found.test.logits, expected.test.logits)}
    mine, other = ours.step.state_dict(), theirs.step.state_dict()
    for part in ("model", "average"):
        kept = [one[part].get("model", one[part]) for one in (mine, other)]
        pairs |= {f"{part} {name}": (kept[0][name], kept[1][name]) for name in kept[1]}
    momenta = [one["optimizer"]["state"] for one in (mine, other)]
    pairs |= {f"momentum {key}": tuple(one[key]["momentum_buffer"] for one in momenta) for key in momenta[1]}
    names = [name for name, (a, b) in pairs.items() if not torch.equal(a, b)]
    rows = [[{k: v for k, v in row.items() if k not in MEASURED} for row in one.rows] for one in (found, expected)]
    return names + [f"row {index}" for index, (a, b) in enumerate(zip(*rows, strict=True)) if a != b]


class InAStep:
    """A recipe's loss that sends a signal while a step is under way."""

    def __init__(self, recipe: Any, call: int) -> None:
        self._recipe, self._left = recipe, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recipe, name)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGUSR2)
        loss: torch.Tensor = self._recipe.loss(logits, targets)
        return loss


@dataclass
class Between:
    """Sends a signal after so many steps in all."""

    after: int
    seen: int = 0

    def on_start(self, *seconds: float | None) -> None:
        pass

    def on_resume(self, rows: list[Any]) -> None:
        pass

    def on_step(self, epoch: int, step: int) -> None:
        self.seen += 1
        if self.seen == self.after:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_epoch(self, rows: list[Any]) -> None:
        pass


@pytest.mark.parametrize("micro_batch", [1, 2, 6, 9, 14, 21])
def test_told_in_a_step_it_ends_after_it_and_goes_on_bit_for_bit(
    trainer: Make, recipe: Make, tmp_path: Path, micro_batch: int
) -> None:
    settings: dict[str, Any] = {"dropout": 0.3, "ema": 0.9, "recipe": recipe(clip_norm=0.5)}
    undisturbed = trainer(folder=tmp_path / "undisturbed", **settings)
    expected = undisturbed.fit()

    first = trainer(**settings | {"recipe": InAStep(settings["recipe"], micro_batch)})
    with pytest.raises(Stopped) as stopped:
        told(first)
    done = first.step.optimizer.state_dict()["state"][0]["momentum_buffer"]
    assert done.any()  # the step was taken
    assert "in epoch" in str(stopped.value)

    second = trainer(**settings)
    outcome = told(second)
    assert differences(second, outcome, undisturbed, expected) == []
    assert outcome.test_looks == expected.test_looks


@pytest.mark.parametrize("after", [1, STEPS - 1, STEPS, STEPS + 1])
def test_told_between_steps_it_keeps_them_all(trainer: Make, tmp_path: Path, after: int) -> None:
    undisturbed = trainer(dropout=0.3, folder=tmp_path / "undisturbed")
    expected = undisturbed.fit()
    with pytest.raises(Stopped):
        told(trainer(dropout=0.3, watcher=Between(after)))
    second = trainer(dropout=0.3, watcher=Between(0))
    assert differences(second, told(second), undisturbed, expected) == []
    assert second.watcher.seen == 3 * STEPS - after


@pytest.mark.parametrize("split", ["val", "test"])
def test_told_in_an_evaluation_it_keeps_the_epoch_s_steps(
    trainer: Make, batches: Make, tmp_path: Path, split: str
) -> None:
    images = list(batches().epoch(99))

    class Telling(list[Any]):
        told = False

        def __iter__(self) -> Any:
            if not Telling.told:
                Telling.told = True
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__iter__()

    undisturbed = trainer(splits=Splits(images, images), folder=tmp_path / "undisturbed")
    expected = undisturbed.fit()
    splits = {"val": images, "test": images} | {split: Telling(images)}
    with pytest.raises(Stopped) as stopped:
        told(trainer(splits=Splits(**splits)))
    assert stopped.value.checkpointed == f"up to step {STEPS} of {STEPS} in epoch 1"
    second = trainer(splits=Splits(**splits), watcher=Between(0))
    outcome = told(second)
    assert differences(second, outcome, undisturbed, expected) == []
    assert outcome.test_looks == expected.test_looks
    assert second.watcher.seen == 2 * STEPS


def test_stopped_twice_in_one_epoch(trainer: Make, tmp_path: Path) -> None:
    undisturbed = trainer(dropout=0.3, folder=tmp_path / "undisturbed")
    expected = undisturbed.fit()
    for _ in range(2):
        with pytest.raises(Stopped):
            told(trainer(dropout=0.3, watcher=Between(2)))
    second = trainer(dropout=0.3)
    outcome = told(second)
    assert differences(second, outcome, undisturbed, expected) == []
    assert all(row["seconds"] > 0 for row in outcome.rows)


def test_a_step_that_takes_too_long_is_broken_off_and_what_was_before_it_counts(
    trainer: Make, recipe: Make, tmp_path: Path
) -> None:
    class Stuck(InAStep):
        def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            loss = super().loss(logits, targets)
            while self._left == 0:
                pass
            return loss

    undisturbed = trainer(folder=tmp_path / "undisturbed")
    expected = undisturbed.fit()
    first = trainer(recipe=Stuck(recipe(), 10), stop=SignalGuard(grace=0.1))
    with pytest.raises(Stopped) as stopped:
        told(first)
    assert stopped.value.checkpointed is None
    assert len(load_sealed(first.checkpoints.last)["rows"]) == 1
    second = trainer()
    assert differences(second, told(second), undisturbed, expected) == []


def test_at_a_time_limit_each_process_makes_a_step_and_the_last_one_finishes(trainer: Make, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dropout": 0.3, "ema": 0.9}
    undisturbed = trainer(folder=tmp_path / "undisturbed", **settings)
    expected = undisturbed.fit()
    passed = TimeLimit(60.0, "trainer.max_seconds", ends=0.0)
    kept: list[str | None] = []
    while len(kept) < 3 * STEPS - 1:
        with pytest.raises(Stopped) as stopped:
            told(trainer(stop=SignalGuard(limit=passed), **settings))
        kept.append(stopped.value.checkpointed)
    steps = [(epoch, step) for epoch in (1, 2, 3) for step in range(1, STEPS + 1)]
    assert kept == [f"up to step {step} of {STEPS} in epoch {epoch}" for epoch, step in steps[:-1]]
    last = trainer(stop=SignalGuard(limit=passed), **settings)
    outcome = told(last)
    assert differences(last, outcome, undisturbed, expected) == []
    assert outcome.test_looks == expected.test_looks
