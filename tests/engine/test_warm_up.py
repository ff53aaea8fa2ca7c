"""What happens before the clock starts: compilation on throwaway batches, and times that are told apart."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from wrnexp.engine import Trainer, compiling, evaluate
from wrnexp.engine.evaluate import Splits
from wrnexp.errors import Stopped

Make = Callable[..., Any]
EVERY_FORM = [
    {}, {"ema": 0.9}, {"memory_budget": 0.5}, {"ema": 0.9, "memory_budget": 0.5},
]  # fmt: skip


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Compile with a backend that runs the graph as it is; the shapes of the images of every graph that is compiled."""
    shapes: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: Any) -> Callable[..., Any]:
        shapes.append(next(tuple(value.shape) for value in inputs if value.shape[1:] == (3, 8, 8)))
        return graph.forward

    torch.compiler.reset()
    compile = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda model, *, fullgraph, dynamic, **options: compile(
            model, backend=backend, fullgraph=fullgraph, dynamic=dynamic
        ),
    )  # fmt: skip
    return shapes


def states(trainer: Trainer) -> dict[str, Any]:
    generators = {"torch": torch.get_rng_state()}
    plain = {"python": random.getstate(), "numpy": str(np.random.get_state())}  # noqa: NPY002
    weights = {name: value.clone() for name, value in trainer.step.model.state_dict().items()}
    return generators | plain | weights | {"training": trainer.step.model.training}


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name, value in theirs.items():
        assert torch.equal(ours[name], value) if isinstance(value, Tensor) else ours[name] == value, name


class Drawing(nn.Module):
    """A foreign network that draws from every generator that there is, and assigns its buffer a new tensor."""

    mean: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm2d(3), nn.Linear(3, classes)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * (images.mean().detach() + 1)
        noise = random.random() + float(np.random.rand())  # noqa: NPY002
        logits: Tensor = self.linear(self.norm(images).mean((2, 3))) + noise * torch.rand(())
        return logits


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_warm_up_leaves_no_trace(trainer: Make, foreign: bool, training: bool) -> None:
    ours = trainer(**({"model": Drawing(5)} if foreign else {"dropout": 0.3}))
    ours.step.model.train(training)
    like = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)
    before = states(ours)
    ours.step.warm_up(like, [4, 2])
    assert_equal(states(ours), before)
    assert all(parameter.grad is None for parameter in ours.step.model.parameters())
    assert not ours.step.optimizer.state


@pytest.mark.parametrize("changes", EVERY_FORM)
def test_a_training_compiles_one_graph_each_for_steps_and_evaluations_before_its_first_step(
    trainer: Make, batches: Make, graphs: list[tuple[int, ...]], changes: dict[str, Any]
) -> None:
    """Epochs end with a batch of 2 images of 4, test sets with one of 2 of 6: both run uncompiled."""
    images = torch.randn(20, 3, 8, 8)

    class Test:
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            for part in torch.split(images, 6):  # new tensors in each evaluation, as of `EvalBatches`
                yield part / 2, torch.zeros(len(part), dtype=torch.int64)

    ours = trainer(compile=True, dropout=0.3, splits=Splits(Test(), Test()), **changes)
    seen: list[int] = []
    ours.watcher.on_step = lambda epoch, step: seen.append(len(graphs))
    outcome = ours.fit()
    assert [shape[0] for shape in graphs] == [4, 6]
    assert set(seen) == {2}
    assert len(outcome.rows) == 3


class Shuffled(list[Any]):
    """A split that draws a number from the global generator, as torch's DataLoader does."""

    def __iter__(self) -> Iterator[Any]:
        torch.randint(10, ())
        return super().__iter__()


@pytest.mark.parametrize("changes", EVERY_FORM)
def test_weights_are_equal_with_and_without_a_warm_up(
    trainer: Make, batches: Make, graphs: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any
) -> None:
    loader = batches()
    loader.warm_up = lambda: torch.rand(3)
    changes = {"batches": loader, "splits": Splits(Shuffled(batches().epoch(99)))} | changes
    warm = trainer(compile=True, dropout=0.3, folder=tmp_path / "warm", **changes)
    with_warm_up = warm.fit()
    monkeypatch.setattr(Trainer, "_warm_up", lambda self, epoch, first: None)
    cold = trainer(compile=True, dropout=0.3, folder=tmp_path / "cold", **changes)
    without = cold.fit()
    for name, value in without.model.state_dict().items():
        assert torch.equal(with_warm_up.model.state_dict()[name], value), name
    assert torch.equal(with_warm_up.test.logits, without.test.logits)
    assert [row["train_loss"] for row in with_warm_up.rows] == [row["train_loss"] for row in without.rows]


class Clock:
    """Time that passes only where a test says so, for all of the engine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def slow(self, loader: Any) -> Any:
        """Let a loader take 100 s to start its worker processes and 1 s for each batch."""
        healthy = loader.epoch

        def epoch(number: int) -> Iterator[Any]:
            self.now += 100
            for batch in healthy(number):
                self.now += 1
                yield batch

        loader.epoch = epoch
        return loader


def test_start_compilation_training_and_evaluation_are_told_apart(
    trainer: Make, batches: Make, graphs: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    loader = clock.slow(batches())

    class Test(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            for batch in super().__iter__():
                clock.now += 10
                yield batch

    compile = torch.compile

    def compiling_slowly(model: nn.Module, **options: Any) -> Callable[[Tensor], Tensor]:
        fast = compile(model, **options)

        def forward(images: Tensor) -> Tensor:
            before = len(graphs)
            logits: Tensor = fast(images)
            clock.now += 10_000 * (len(graphs) - before)
            return logits

        return forward

    monkeypatch.setattr(torch, "compile", compiling_slowly)
    test = Test(list(batches().epoch(99))[:2])
    ours = trainer(compile=True, batches=loader, splits=Splits(test))
    ours.started = clock.now - 7
    rows = ours.fit().rows
    assert len(graphs) == 2
    # The test set's first batch is read to know its shape.
    assert ours.watcher.before == (7 + 100 + 1, 2 * 10_000 + 10)
    # 7 micro-batches; those of the first epoch wait for 6 more than were there, and no worker starts in it.
    assert [row["seconds"] for row in rows] == [6, 107, 107]
    assert [row["data_wait"] for row in rows] == [1.0, 1.0, 1.0]
    assert [row["evaluation_seconds"] for row in rows] == [20, 20, 20]
    assert [row["checkpoint_seconds"] for row in rows] == [0, 0, 0]


def test_processes_of_one_run_add_up_what_they_took_to_start(
    trainer: Make, batches: Make, watcher: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    seconds = []
    for stop_after in (1, 2, None):
        ours = trainer(batches=clock.slow(batches()), watcher=watcher(stop_after=stop_after))
        ours.started = clock.now - 5
        try:
            ours.fit()
        except KeyboardInterrupt:
            assert stop_after
        seconds.append(ours.watcher.before)
    assert seconds == [(106, 0), (212, 0), (318, 0)]


def test_a_run_of_an_earlier_version_stays_without_these_times(trainer: Make, watcher: Make, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer(watcher=watcher(stop_after=1)).fit()
    path = tmp_path / "checkpoints" / "last.pt"
    state = torch.load(path, weights_only=True)
    del state["seconds_before"]  # as an earlier version wrote it
    torch.save(state, path)
    ours = trainer()
    ours.fit()
    assert ours.watcher.before == (None, None)


@pytest.mark.parametrize("after", [1, 4, 5])
def test_a_process_that_resumes_within_an_epoch_compiles_first_too(
    trainer: Make, watcher: Any, graphs: list[tuple[int, ...]], after: int
) -> None:
    """After step 4 of 4 no batch of the epoch is left to take the shape from."""

    class Stopping(watcher):  # type: ignore[misc]
        def on_step(self, epoch: int, step: int) -> None:
            super().on_step(epoch, step)
            if len(self.steps) == after:
                raise Stopped(15)

    with pytest.raises(Stopped):
        trainer(watcher=Stopping()).fit()
    ours = trainer(compile=True)
    counts: dict[tuple[int, int], int] = {}
    ours.watcher.on_step = lambda epoch, step: counts.update({(epoch, step): len(graphs)})
    outcome = ours.fit()
    assert next(iter(counts)) == (after // 4, after % 4 + 1)
    assert set(counts.values()) == {2}
    assert [shape[0] for shape in graphs] == [4, 4]  # steps; evaluations, whose batches have 4 images here
    assert len(outcome.rows) == 3


def test_a_loader_compiles_what_it_runs_on_the_device_too(
    trainer: Make, batches: Make, graphs: list[Any], tmp_path: Path
) -> None:
    loader = batches()
    calls: list[str] = []
    loader.warm_up = lambda: calls.append("warm up")
    plain = loader.epoch

    def epoch(number: int) -> Any:
        calls.append("epoch")
        return plain(number)

    loader.epoch = epoch
    for compile, expected in ((False, ["epoch"] * 3), (True, ["warm up", "epoch", "epoch", "epoch"])):
        ours = trainer(batches=loader, compile=compile, folder=tmp_path / str(compile))
        calls.clear()
        ours.fit()
        assert calls == expected


def test_the_largest_size_is_compiled_and_an_empty_batch_decides_nothing(graphs: list[Any]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten())
    forward = compiling.FixedSize(model, compiling.compiled(model, cuda_graphs=False))
    for size in (0, 4, 3, 5, 4, 5, 0):
        images = torch.randn(size, 3, 8, 8)
        torch.testing.assert_close(forward(images), model(images))
    assert [shape[0] for shape in graphs] == [4, 5]
    with forward.batch_of(4) as runs_compiled:  # a share of 5 images in a batch of 4: the batch counts
        assert not runs_compiled
        forward(torch.randn(5, 3, 8, 8))
    with forward.batch_of(5, processes=6) as runs_compiled:
        assert not runs_compiled
    assert [shape[0] for shape in graphs] == [4, 5]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("changes", [*EVERY_FORM, {"cuda_graphs": True}, {"compile": False}])
def test_a_gpu_compiles_before_the_first_step_and_saves_what_it_has(
    trainer: Make, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Epochs end with a batch of 2 images of 4; evaluation and steps have a graph each, whatever is replayed."""
    settings = {"device": "cuda", "precision": "auto", "channels_last": None, "compile": True, "dropout": 0.3} | changes
    ours = trainer(**settings)
    counts: list[int] = []
    ours.watcher.on_step = lambda epoch, step: counts.append(counters["stats"]["unique_graphs"])
    outcome = ours.fit()
    assert len(set(counts)) == 1
    assert (ours.watcher.before[1] or 0) > 0
    saved = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    for name, value in ours.step.model.state_dict().items():
        assert torch.equal(saved["model"][name], value.cpu()), name
    eager = evaluate(outcome.model, ours.splits.test, ours.hardware)
    torch.testing.assert_close(outcome.test.logits, eager.logits, rtol=0.05, atol=0.05)
