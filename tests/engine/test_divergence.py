"""Divergence against plain loops that leave steps out, and against itself after stops and kills."""

import copy
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from wrnexp.engine import Hardware, Trainer, divergence, divergence_guard
from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.divergence import PERIOD, StepFigures, StepReader
from wrnexp.engine.divergence_guard import DivergenceGuard
from wrnexp.engine.evaluate import Evaluation, Splits
from wrnexp.engine.meters import Meters
from wrnexp.engine.step import TrainStep
from wrnexp.engine.trainer import TrainResult
from wrnexp.errors import DivergedError, Stopped
from wrnexp.models import WideResNet
from wrnexp.optim import averaged
from wrnexp.runs.record import MEASURED, read_metrics, read_record

Make = Callable[..., Any]
ROOT = Path(__file__).parents[2]
STEPS = 4  # an epoch of the shared training has


@pytest.fixture
def poisoned(batches: Make) -> Make:
    """Return a function that makes a loader in which some steps, counted from 1 over the run, have an image of NaN."""

    def make(*steps: int) -> Any:
        loader = batches()
        healthy = loader.epoch
        sizes = [len(step) for step in loader.plan]
        numbers = [index + 1 for index, count in enumerate(sizes) for _ in range(count)]

        def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
            for step, (images, labels) in zip(numbers, healthy(number), strict=True):
                bad = number < 90 and number * STEPS + step in steps
                yield (torch.cat([images[:1] * math.nan, images[1:]]) if bad else images), labels

        loader.epoch = epoch
        return loader

    return make


@dataclass
class Watcher:
    """Keeps the recoveries that it is called with; does something after so many steps."""

    after: int = 0
    then: Callable[[], None] = lambda: None
    seen: int = 0
    recoveries: tuple[dict[str, Any], ...] = ()

    def on_start(self, *seconds: float | None) -> None: ...

    def on_resume(self, rows: list[Any]) -> None: ...

    def on_epoch(self, rows: list[Any]) -> None: ...

    def on_step(self, epoch: int, step: int) -> None:
        self.seen += 1
        if self.seen == self.after:
            self.then()

    def on_recoveries(self, recoveries: list[dict[str, Any]], *, resumed: bool = False) -> None:
        self.recoveries = tuple(recoveries)


def plain_training(
    trainer: Trainer, left_out: set[int], clip: float | None, ema: float | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[float]]:
    """Train a copy of the model in a plain loop without some steps; return weights, averages and losses of epochs."""
    torch.manual_seed(0)
    model = copy.deepcopy(trainer.step.model).train()
    average: dict[str, Tensor] = {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    losses = []
    for epoch in range(3):
        stream, total, images_seen = trainer.batches.epoch(epoch), 0.0, 0
        for index, sizes in enumerate(trainer.batches.plan):
            micro_batches = [next(stream) for _ in sizes]
            number = epoch * STEPS + index  # from 0
            if number + 1 in left_out:
                continue
            factor = (number + 1) / STEPS if number < STEPS else (1 + math.cos(math.pi * (number - STEPS) / 8)) / 2
            optimizer.param_groups[0]["lr"] = 0.05 * factor
            optimizer.zero_grad()
            for images, labels in micro_batches:
                loss = F.cross_entropy(model(images), labels, label_smoothing=0.1, reduction="sum")
                (loss / sum(sizes)).backward()  # type: ignore[no-untyped-call]
                total, images_seen = total + loss.item(), images_seen + len(labels)
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            for name, value in model.state_dict().items():
                blend = ema is not None and name in average and value.is_floating_point()
                average[name] = ema * average[name] + (1 - ema) * value if blend and ema else value.clone()
        losses.append(total / images_seen)
    return model.state_dict(), average, losses


@pytest.mark.parametrize(
    ("action", "bad", "left_out"),
    [
        ("skip", [6], {6}),
        pytest.param("skip", [1, 2, 5, 12], {1, 2, 5, 12}, marks=pytest.mark.slow),
        ("rollback", [7], {6, 7}),  # a quarter of an epoch's steps before it too
        pytest.param("rollback", [1, 6, 9], {1, 5, 6, 9}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("clip", "ema"), [(None, None), (0.5, 0.9)])
def test_training_equals_a_plain_loop_without_the_steps_that_diverge(
    trainer: Make, recipe: Make, poisoned: Make, action: str, bad: list[int], left_out: set[int],
    clip: float | None, ema: float | None,
) -> None:  # fmt: skip
    ours = trainer(
        batches=poisoned(*bad), recipe=recipe(clip_norm=clip), ema=ema, on_divergence=action, watcher=Watcher()
    )
    expected, averages, losses = plain_training(ours, left_out, clip, ema)
    outcome = ours.fit()
    for name, value in ours.step.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
    if ema:
        for name, value in outcome.model.state_dict().items():
            torch.testing.assert_close(value, averages[name], rtol=1e-4, atol=1e-6, msg=name)
    assert [row["train_loss"] for row in outcome.rows] == pytest.approx(losses, rel=1e-5)
    assert [row["step"] for row in outcome.rows] == [4, 8, 12]
    recoveries = ours.watcher.recoveries
    assert [(one["step"], one["action"], one["loss"]) for one in recoveries] == [(step, action, None) for step in bad]
    assert [one["lr"] for one in recoveries] == [recipe().learning_rate(step - 1, STEPS) for step in bad]


@pytest.mark.parametrize("graphs", [False, True])
def test_a_skipped_step_changes_nothing_but_the_generator(recipe: Make, batches: Make, graphs: bool) -> None:
    hardware = Hardware(torch.device("cpu"), bf16=False, channels_last=True, compile=False, cuda_graphs=graphs)
    model = WideResNet(10, 1, 0.3, 0.0, num_classes=5)
    step = TrainStep(model, recipe(clip_norm=0.5), partial(averaged, decay=0.9), hardware)
    check = DivergenceGuard("skip", step, batches(), Ranks(), Watcher())
    meters = Meters(hardware.device, check=check)
    batch = torch.randn(4, 3, 8, 8), torch.randint(5, (4,))

    def take(index: int, *micro_batches: tuple[Tensor, Tensor]) -> dict[str, Any]:
        check.begin(0, index)
        step(micro_batches, [4, 4], 0.1, meters)
        return copy.deepcopy({"state": step.state_dict(), "meters": meters.state_dict()})

    before = take(0, batch, batch)
    generator = torch.get_rng_state()
    after = take(1, batch, (batch[0] * math.inf, batch[1]))
    assert not torch.equal(torch.get_rng_state(), generator)
    assert_equal(after, before)
    assert not torch.equal(
        take(2, batch, batch)["state"]["model"]["stem.weight"], before["state"]["model"]["stem.weight"]
    )
    assert meters.read()["train_loss"] < math.inf


def assert_equal(value: Any, expected: Any) -> None:
    """Compare nested dicts and lists of tensors bit for bit."""
    if isinstance(expected, Tensor):
        assert torch.equal(value, expected)
    elif isinstance(expected, dict):
        assert value.keys() == expected.keys()
        for key in expected:
            assert_equal(value[key], expected[key])
    elif isinstance(expected, list):
        for ours, theirs in zip(value, expected, strict=True):
            assert_equal(ours, theirs)
    else:
        assert value == expected


def test_without_a_diverged_step_results_are_the_same_bit_for_bit(trainer: Make, tmp_path: Path) -> None:
    left = []
    for action in ("stop", "skip", "rollback"):
        ours = trainer(dropout=0.3, ema=0.9, on_divergence=action, folder=tmp_path / action)
        left.append(results(ours, ours.fit()))
    assert_equal(left[1], left[0])
    assert_equal(left[2], left[0])


def results(trainer: Trainer, outcome: TrainResult) -> dict[str, Any]:
    rows = [{key: value for key, value in row.items() if key not in MEASURED} for row in outcome.rows]
    return {
        "state": trainer.step.state_dict(),
        "logits": outcome.test.logits,
        "rows": rows,
        "looks": outcome.test_looks,
        "recoveries": list(getattr(trainer.watcher, "recoveries", ())),
    }


class Killed(BaseException):
    pass


def killed() -> None:
    raise Killed


@pytest.mark.parametrize("kind", ["told", "killed"])
@pytest.mark.parametrize(
    ("action", "after"),
    [
        ("skip", 6),
        ("rollback", 6),
        *(
            pytest.param(action, after, marks=pytest.mark.slow)
            for action in ("skip", "rollback")
            for after in (1, 5, 7, 8, 9, 10, 11)
        ),
    ],
)
def test_a_run_that_recovers_resumes_bit_for_bit(
    trainer: Make, poisoned: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, after: int, kind: str
) -> None:
    settings = {"dropout": 0.3, "ema": 0.9, "on_divergence": action, "checkpoint_seconds": 0}
    whole = trainer(batches=poisoned(3, 7), watcher=Watcher(), folder=tmp_path / "whole", **settings)
    expected = results(whole, whole.fit())

    then = partial(os.kill, os.getpid(), signal.SIGTERM) if kind == "told" else killed
    first = trainer(batches=poisoned(3, 7), watcher=Watcher(after, then), **settings)
    if kind == "killed":
        write_nothing_more(first, monkeypatch)
    with first.stop.listening(), pytest.raises(Stopped if kind == "told" else Killed):
        first.fit()
    second = trainer(batches=poisoned(3, 7), watcher=Watcher(), **settings)
    assert_equal(results(second, second.fit()), expected)


def write_nothing_more(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the end of training write no checkpoint that was not handed to the thread before, as after SIGKILL."""
    close = trainer.checkpoints.close

    def dropped() -> None:
        trainer.checkpoints._newest = None
        close()

    monkeypatch.setattr(trainer.checkpoints, "close", dropped)


def saved(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)
    return state


def test_a_diverged_step_ends_the_run_at_once_and_is_described(trainer: Make, poisoned: Make, tmp_path: Path) -> None:
    ours = trainer(batches=poisoned(6), watcher=Watcher())
    with pytest.raises(DivergedError) as error:
        ours.fit()
    assert ours.watcher.seen == 5
    rate = ours.recipe.learning_rate(5, STEPS)
    assert error.value.divergence == {"step": 6, "lr": rate, "grad_norm": None, "loss": None, "action": "stop"}
    message = str(error.value)
    assert message.startswith("the training loss is nan in epoch 2, step 2 of 4 (step 6 of the run; loss nan, gradient")
    for words in ("optim.lr", "warmup_epochs", "optim.clip_norm", "trainer.on_divergence=skip or rollback"):
        assert words in message
    assert message.endswith("the last good checkpoint goes up to the end of epoch 1")
    assert "\n" not in message
    assert len(saved(tmp_path)["rows"]) == 1
    assert all(value.isfinite().all() for value in saved(tmp_path)["model"].values())


def test_a_state_that_has_diverged_is_not_saved_at_a_signal(trainer: Make, poisoned: Make, tmp_path: Path) -> None:
    """The signal comes before the device's figures of the diverged step are looked at."""
    ours = trainer(batches=poisoned(6), watcher=Watcher(6, partial(os.kill, os.getpid(), signal.SIGTERM)))
    ours.guard._reader._period = PERIOD
    with ours.stop.listening(), pytest.raises(Stopped) as stopped:
        ours.fit()
    assert stopped.value.checkpointed is None
    assert len(saved(tmp_path)["rows"]) == 1
    assert "progress" not in saved(tmp_path)


def test_a_state_that_has_diverged_is_not_saved_within_an_epoch(
    trainer: Make, poisoned: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrnexp.engine.checkpoint.WITHIN_EPOCH", 0.0)
    monkeypatch.setattr("wrnexp.engine.checkpoint.Checkpoints.due_within_epoch", lambda self: True)
    ours = trainer(batches=poisoned(7), watcher=Watcher(), checkpoint_seconds=0)
    ours.guard._reader._period = PERIOD
    with pytest.raises(DivergedError, match=r"goes up to step 2 of epoch 2$"):
        ours.fit()
    assert saved(tmp_path)["progress"]["steps"] == 2


@pytest.mark.parametrize("action", ["stop", "skip", "rollback"])
def test_what_the_last_step_of_an_epoch_breaks_is_noticed_before_it_is_saved(
    trainer: Make, recipe: Make, tmp_path: Path, action: str
) -> None:
    ours = trainer(recipe=recipe(), on_divergence=action, watcher=Watcher())
    update = ours.step.optimizer.step
    broken: list[int] = []

    def step() -> None:
        update()
        if ours.watcher.seen == 7 and not broken:
            broken.append(8)
            with torch.no_grad():
                next(ours.step.model.parameters())[0] = 1e38  # finite, but what it makes is not

    ours.step.optimizer.step = step
    if action == "rollback":
        assert [row["epoch"] for row in ours.fit().rows] == [1, 2, 3]
        assert [(one["step"], one["action"]) for one in ours.watcher.recoveries] == [(8, "rollback")]
        return
    with pytest.raises(DivergedError, match=r"the test loss is nan in epoch 2, step 4 of 4"):
        ours.fit()
    assert len(saved(tmp_path)["rows"]) == 1


def test_weights_that_are_not_finite_are_named(trainer: Make) -> None:
    ours = trainer(ema=0.9)
    with torch.no_grad():
        ours.step.average.model.stem.weight[0] = math.inf
    assert divergence.broken_weights(ours.step.state_dict(), Ranks()) == (
        "the weights are not finite (average of stem.weight)"
    )
    ours.step.model.norm = torch.nn.BatchNorm2d(2)
    ours.step.model.norm.running_var.fill_(math.nan)
    assert "(norm.running_var and 1 more tensors)" in divergence.broken_weights(ours.step.state_dict(), Ranks())


@pytest.mark.parametrize("action", ["stop", "skip", "rollback"])
def test_a_mask_that_is_not_finite_by_design_is_no_divergence(trainer: Make, action: str) -> None:
    model = trainer().model
    model.register_buffer("mask", torch.full((4, 4), -math.inf).triu(1))
    assert len(trainer(model=model, on_divergence=action, ema=0.9).fit().rows) == 3


@pytest.mark.parametrize(
    ("logit", "words"), [(7e4, "the test loss is [67]e"), (-7e4, "logits are not finite in float16")]
)
def test_final_logits_must_fit_into_predictions(
    trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logit: float, words: str
) -> None:
    ours = trainer()
    evaluate = ours.evaluator.test

    def test() -> Any:
        evaluation = evaluate()
        if len(ours.rows) == 2:
            evaluation.logits[0] = 0.0
            evaluation.logits[torch.arange(len(evaluation.labels)), (evaluation.labels + 1) % 5] = logit
        return evaluation

    monkeypatch.setattr(ours.evaluator, "test", test)
    with pytest.raises(DivergedError, match=words):
        ours.fit()
    assert len(saved(tmp_path)["rows"]) == 2


@pytest.mark.parametrize(("most", "bad", "words"), [
    (3, range(6, 12), r"^3 steps in a row were skipped; the training loss is nan in epoch 2, step 2 of 4"),
    (50, range(4, 9), r"^5 steps in a row were skipped; the training loss is nan in epoch 1, step 4 of 4"),
])  # fmt: skip
def test_too_many_skipped_steps_in_a_row_or_a_whole_epoch_end_the_run(
    trainer: Make, poisoned: Make, monkeypatch: pytest.MonkeyPatch, most: int, bad: range, words: str
) -> None:
    monkeypatch.setattr(divergence_guard, "MOST_SKIPPED", most)
    ours = trainer(batches=poisoned(2, *bad), on_divergence="skip", watcher=Watcher())
    with pytest.raises(DivergedError, match=words) as error:
        ours.fit()
    assert error.value.divergence is not None
    assert error.value.divergence["step"] == bad[0]
    assert [one["step"] for one in ours.watcher.recoveries] == [2]  # from the others it has not recovered


def test_rollbacks_come_to_an_end(trainer: Make, poisoned: Make, tmp_path: Path) -> None:
    ours = trainer(batches=poisoned(1, 3, 6, 10), on_divergence="rollback", watcher=Watcher())
    with pytest.raises(DivergedError, match=r"^after 3 rollbacks the training loss is nan in epoch 3, step 2"):
        ours.fit()
    assert [one["step"] for one in ours.watcher.recoveries] == [1, 3, 6]
    assert len(saved(tmp_path)["rows"]) == 2
    every = trainer(
        batches=poisoned(*range(1, 5)), on_divergence="rollback", watcher=Watcher(), folder=tmp_path / "every"
    )
    with pytest.raises(DivergedError, match=r"rollbacks"):
        every.fit()


def test_what_a_checkpoint_of_a_diverged_state_comes_to(trainer: Make, tmp_path: Path) -> None:
    """Earlier versions saved such; a completed training is looked at too."""
    trainer().fit()
    state = saved(tmp_path)
    state["model"]["stem.weight"][0] = math.nan
    torch.save(state, tmp_path / "checkpoints" / "last.pt")
    with pytest.raises(DivergedError, match=r"the weights are not finite \(stem\.weight\) in epoch 3, step 4 of 4"):
        trainer().fit()


@pytest.mark.parametrize(
    ("loss", "norm", "diverged"),
    [
        (9e3, 1e11, False),
        (1.1e4, 1.0, True),
        (-1.1e4, 1.0, True),
        (1.0, 1e13, True),
        (math.nan, 1.0, True),
        (1.0, math.nan, True),
        (math.inf, 1.0, True),
        (1.0, math.inf, True),
    ],
)
def test_what_counts_as_diverged(loss: float, norm: float, diverged: bool) -> None:
    assert StepFigures(1, loss, norm).diverged is diverged


@pytest.mark.parametrize(("margin", "final", "words"), [
    (9e3, True, ""), (2e4, True, "the test loss is 2e+04"), (2e4, False, ""), (1e11, False, ""),
    (2e12, False, "the test loss is 2e+12"),
    (math.nan, False, "the test loss is nan"),
])  # fmt: skip
def test_losses_of_evaluations_have_a_limit(margin: float, final: bool, words: str) -> None:
    evaluation = Evaluation(torch.tensor([[0.0, margin]]), torch.tensor([0]))  # a cross-entropy of `margin`
    assert divergence.broken_logits("test", evaluation, final=final) == words


def test_several_processes_add_their_losses_and_look_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.mul_(2))  # another one has the same
    reader = StepReader(torch.device("cpu"), Ranks(0, 2))
    read = [reader.add(step, torch.tensor([step / 2, 3.0])) for step in range(1, PERIOD + 2)]
    assert [len(steps) for steps in read] == [0] * (PERIOD - 1) + [PERIOD, 0]
    assert read[PERIOD - 1] == [StepFigures(step, step, 3.0) for step in range(1, PERIOD + 1)]
    assert reader.rest() == [StepFigures(PERIOD + 1, PERIOD + 1, 3.0)]
    assert reader.rest() == []


def test_a_gpu_is_read_one_period_later(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    added = 0

    class Mark:
        def __init__(self) -> None:
            self.at = added

        def synchronize(self) -> None:
            waited.append(added - self.at)

    class Stream:
        def record_event(self) -> Mark:
            return Mark()

    monkeypatch.setattr("torch.cuda.current_stream", lambda device: Stream())
    monkeypatch.setattr("torch.empty_like", lambda tensor, **options: torch.zeros(tensor.shape))
    reader = StepReader(torch.device("cuda", 0), Ranks())
    noticed: dict[int, int] = {}
    for added in range(1, 5 * PERIOD + 1):
        for step in reader.add(added, torch.tensor([1.0, 2.0])):
            noticed[step.step] = added
    assert set(waited) == {PERIOD}
    assert list(noticed) == list(range(1, 4 * PERIOD + 1))
    assert max(now - step for step, now in noticed.items()) < 2 * PERIOD
    assert [step.step for step in reader.rest()] == list(range(4 * PERIOD + 1, 5 * PERIOD + 1))


@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_validation_and_best_are_of_what_was_kept(
    trainer: Make, poisoned: Make, batches: Make, tmp_path: Path, action: str
) -> None:
    splits = Splits(test=list(batches().epoch(99)), val=list(batches().epoch(98)))
    ours = trainer(batches=poisoned(6), splits=splits, on_divergence=action, watcher=Watcher())
    rows = ours.fit().rows
    values = [row["val_accuracy"] for row in rows]
    best = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)
    assert len(best["rows"]) == 1 + values.index(max(values))
    assert all(row["seconds"] > 0 for row in rows)


SPIKE = '''
class Spike:
    """A rate that no net survives, in one step."""

    def __init__(self, **ignored):
        pass

    def __call__(self, step, steps_per_epoch, epochs):
        return 1e6 if step == 4 * steps_per_epoch + 7 else 1.0
'''


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_run_that_rolls_back_resumes_byte_identical_after_sigkills(tmp_path: Path, tiny_overrides: list[str]) -> None:
    (tmp_path / "spike.py").write_text(SPIKE)
    changes = ["optim.schedule._target_=spike.Spike", "loader.batch_size=8", "optim.epochs=8"]
    changes += ["trainer.on_divergence=rollback", "trainer.checkpoint_seconds=0", "model.dropout=0.3"]

    def begin(name: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, ROOT / "run.py", *tiny_overrides, *changes, f"hydra.run.dir={tmp_path / name}"],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        )

    def left(name: str) -> list[Any]:
        record, rows = read_record(tmp_path / name), read_metrics(tmp_path / name)
        files = [(tmp_path / name / file).read_bytes() for file in ("model.safetensors", "predictions.npz")]
        return [*files, record.recoveries, [{k: v for k, v in row.items() if k not in MEASURED} for row in rows]]

    assert begin("whole").wait() == 0
    assert [one.step for one in read_record(tmp_path / "whole").recoveries] == [57]
    moments = random.Random(0)
    for rows in range(1, 8):  # one kill in each epoch; the fifth diverges
        process = begin("killed")
        while len(read_metrics(tmp_path / "killed")) < rows:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)  # 0: it was over before
    assert begin("killed").wait() == 0
    assert left("killed") == left("whole")
