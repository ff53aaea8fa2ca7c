"""The trainer against a plain loop, and against itself after a stop."""

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wrnexp.engine import Trainer
from wrnexp.engine.evaluate import Splits
from wrnexp.errors import TrainingError, UserError

Make = Callable[..., Any]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.step.model.state_dict().items()}


def plain_training(trainer: Trainer, epochs: int, clip: float | None = None) -> tuple[dict[str, Tensor], list[float]]:
    """Train a copy of the trainer's model in a loop that one would write by hand; return weights and epoch losses."""
    torch.manual_seed(0)
    model = copy.deepcopy(trainer.step.model).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    loader, losses = trainer.batches, []
    steps = len(loader.plan)
    for epoch in range(epochs):
        total = 0.0
        stream = loader.epoch(epoch)
        for index, sizes in enumerate(loader.plan):
            done = epoch * steps + index
            if done < steps:  # warm-up over the first epoch
                factor = (done + 1) / steps
            else:
                factor = (1 + math.cos(math.pi * (done - steps) / (steps * epochs - steps))) / 2
            optimizer.param_groups[0]["lr"] = 0.05 * factor
            optimizer.zero_grad()
            for _ in sizes:
                images, labels = next(stream)
                loss = F.cross_entropy(model(images), labels, label_smoothing=0.1, reduction="sum")
                (loss / sum(sizes)).backward()  # type: ignore[no-untyped-call]
                total += loss.item()
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        losses.append(total / sum(map(sum, loader.plan)))
    return model.state_dict(), losses


@pytest.mark.parametrize("clip", [None, 0.5])
def test_training_equals_a_plain_loop(trainer: Make, recipe: Make, clip: float | None) -> None:
    ours = trainer(recipe=recipe(clip_norm=clip))
    expected, losses = plain_training(ours, 3, clip)
    outcome = ours.fit()
    for name, value in weights(ours).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
    assert [row["train_loss"] for row in outcome.rows] == pytest.approx(losses, rel=1e-5)


def test_the_last_step_takes_the_mean_over_what_is_left(trainer: Make, batches: Make) -> None:
    assert batches().plan == [(4, 4), (4, 4), (4, 4), (2,)]
    assert batches(drop_last=True).plan == [(4, 4)] * 3
    ours = trainer(batches=batches(drop_last=True))
    assert [row["step"] for row in ours.fit().rows] == [3, 6, 9]


def test_accumulation_equals_one_batch_where_batch_statistics_do_not_matter(
    trainer: Make, recipe: Make, batches: Make, tmp_path: Path
) -> None:
    found = []
    for size, accumulate in ((8, 1), (4, 2), (2, 4)):
        ours = trainer(
            batches=batches(batch_size=size, accumulate=accumulate), recipe=recipe(), folder=tmp_path / str(size)
        )
        ours.step.model.eval()
        ours.step.model.train = lambda mode=True, model=ours.step.model: model  # batch norm keeps its statistics
        ours.fit()
        found.append(weights(ours))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6, msg=name)
        torch.testing.assert_close(found[2][name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    trainer: Make, watcher: Make, tmp_path: Path, ema: float | None
) -> None:
    whole = trainer(dropout=0.3, ema=ema, folder=tmp_path / "whole")
    expected = whole.fit()
    stopped = trainer(dropout=0.3, ema=ema, watcher=watcher(stop_after=2))
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    resumed = trainer(dropout=0.3, ema=ema)
    outcome = resumed.fit()
    assert resumed.watcher.steps[0] == (2, 1)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    for name, value in expected.model.state_dict().items():
        assert torch.equal(value, outcome.model.state_dict()[name]), name
    assert torch.equal(expected.test.logits, outcome.test.logits)
    for ours, theirs in zip(outcome.rows, expected.rows, strict=True):
        for key in ("epoch", "step", "lr", "train_loss", "test_loss", "test_accuracy", "grad_norm"):
            assert ours[key] == theirs[key]


def test_a_run_stopped_after_its_last_epoch_trains_no_more(trainer: Make, watcher: Make) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(watcher=watcher(stop_after=3)).fit()
    again = trainer()
    outcome = again.fit()
    assert again.watcher.steps == []
    assert outcome.test.accuracy == outcome.rows[-1]["test_accuracy"]


@pytest.mark.parametrize(("every", "looks"), [(1, [1, 2, 3]), (2, [2, 3]), (0, [3])])
def test_the_test_set_is_read_when_asked_and_at_the_end(trainer: Make, every: int, looks: list[int]) -> None:
    outcome = trainer(test_every=every).fit()
    assert [row["epoch"] for row in outcome.rows if row["test_accuracy"] is not None] == looks
    assert outcome.test_looks == len(looks)
    assert outcome.test.accuracy == outcome.rows[-1]["test_accuracy"]


def test_best_is_chosen_on_validation_and_absent_without_it(trainer: Make, batches: Make, tmp_path: Path) -> None:
    trainer(folder=tmp_path / "without").fit()
    assert not (tmp_path / "without" / "checkpoints" / "best.pt").exists()
    loader = batches()
    splits = Splits(test=list(loader.epoch(99)), val=list(loader.epoch(98)))
    rows = trainer(splits=splits, folder=tmp_path / "with").fit().rows
    values = [row["val_accuracy"] for row in rows]
    best = torch.load(tmp_path / "with" / "checkpoints" / "best.pt", weights_only=True)
    assert len(best["rows"]) == 1 + values.index(max(values))


def test_clipping_is_measured(trainer: Make, recipe: Make, tmp_path: Path) -> None:
    free = trainer(folder=tmp_path / "a").fit().rows
    tight = trainer(recipe=recipe(clip_norm=1e-3), folder=tmp_path / "b").fit().rows
    loose = trainer(recipe=recipe(clip_norm=1e3), folder=tmp_path / "c").fit().rows
    assert {row["clipped"] for row in free} == {row["clipped"] for row in loose} == {0.0}
    assert {row["clipped"] for row in tight} == {1.0}
    assert loose[0]["grad_norm"] == free[0]["grad_norm"] > 1e-3


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    trainer: Make, recipe: Make, batches: Make, tmp_path: Path
) -> None:
    poisoned = batches()
    healthy = poisoned.epoch

    def epoch(number: int) -> Any:
        for images, labels in healthy(number):
            yield (images if number < 1 else images * math.nan), labels

    poisoned.epoch = epoch
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 2.*optim\.lr"):
        trainer(batches=poisoned, splits=Splits(test=list(healthy(0)))).fit()
    kept = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert len(kept["rows"]) == 1
    assert all(value.isfinite().all() for value in kept["model"].values())


def test_a_checkpoint_of_another_model_is_refused(trainer: Make, tmp_path: Path) -> None:
    trainer().fit()
    state = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    state["model"].pop("stem.weight")
    torch.save(state, tmp_path / "checkpoints" / "last.pt")
    with pytest.raises(UserError, match=r"last\.pt does not fit this model.*rerun=true"):
        trainer().fit()


def test_a_truncated_checkpoint_is_set_aside_and_training_repeats_what_it_held(trainer: Make, tmp_path: Path) -> None:
    expected = trainer().fit()
    path = tmp_path / "checkpoints" / "last.pt"
    path.write_bytes(path.read_bytes()[:1000])
    repeated = trainer().fit()
    assert [row["train_loss"] for row in repeated.rows] == [row["train_loss"] for row in expected.rows]
    assert path.with_name("last.pt.damaged").stat().st_size == 1000


def test_rows_say_what_the_contract_lists(trainer: Make) -> None:
    (row, *_) = trainer().fit().rows
    assert list(row) == [
        "epoch", "step", "lr", "train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy", "seconds",
        "images_per_second", "data_wait", "grad_norm", "clipped", "peak_memory_bytes", "evaluation_seconds",
        "checkpoint_seconds",
    ]  # fmt: skip
    assert row["seconds"] > 0
    assert 0 <= row["data_wait"] <= 1
    assert row["val_accuracy"] is None
    assert row["peak_memory_bytes"] > 2**20 or sys.platform != "linux"  # this process with torch
