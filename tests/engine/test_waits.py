"""Nothing in an epoch waits for the device, and what waiting for data means."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from wrnexp.engine import Hardware, Trainer
from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.divergence_guard import DivergenceGuard
from wrnexp.engine.meters import CpuTimer, CudaTimer, Meters, TimedIterator, timer
from wrnexp.engine.step import TrainStep
from wrnexp.models import WideResNet
from wrnexp.optim import averaged

Make = Callable[..., Any]


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_step_reads_nothing_from_its_tensors(
    recipe: Make, batches: Make, watcher: Make, ema: float | None, clip: float | None
) -> None:
    """Meta tensors have shapes and no numbers: whatever asks for a number, and would wait for a GPU, raises."""
    meta = torch.device("meta")
    step = TrainStep(
        WideResNet(10, 1, 0.3, 0.1, num_classes=5),
        recipe(clip_norm=clip),
        partial(averaged, decay=ema),
        Hardware(meta, bf16=False, channels_last=True, compile=False),
    )
    check = DivergenceGuard("stop", step, batches(), Ranks(), watcher())
    meters = Meters(meta, check=check)
    batch = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)
    for index in range(3):
        assert check.begin(0, index)
        step([batch, batch], [4, 4], 0.1, meters)
    assert (meters.steps, meters.images) == (3, 24)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):  # the one reading, at the end of an epoch
        meters.read()


def test_gradients_to_be_replayed_into_stay_where_they_are_and_add_up(recipe: Make) -> None:
    """With CUDA graphs autograd must add to gradients of ours, of which each step starts from zero."""

    def train(graphs: bool) -> tuple[TrainStep, list[int]]:
        torch.manual_seed(0)
        hardware = Hardware(torch.device("cpu"), bf16=False, channels_last=True, compile=False, cuda_graphs=graphs)
        model = WideResNet(10, 1, 0.0, 0.0, num_classes=5)
        step = TrainStep(model, recipe(clip_norm=0.5), partial(averaged, decay=None), hardware)
        addresses, meters = [], Meters(torch.device("cpu"))
        for seed in range(3):
            torch.manual_seed(seed)
            batch = torch.randn(4, 3, 8, 8), torch.randint(5, (4,))
            step([batch, batch], [4, 4], 0.1, meters)
            gradients = [parameter.grad for parameter in model.parameters()]
            addresses.append(sum(0 if one is None else one.data_ptr() for one in gradients))
        return step, addresses

    (replayed, kept), (usual, dropped) = train(graphs=True), train(graphs=False)
    assert len(set(kept)) == 1
    assert kept[0] > 0
    assert set(dropped) == {0}
    for name, value in usual.model.state_dict().items():
        torch.testing.assert_close(replayed.model.state_dict()[name], value, msg=name)


def test_the_hosts_clock_adds_up_waits_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def slow(count: int) -> Iterator[int]:
        for index in range(count):
            now[0] += 2
            yield index

    batches = TimedIterator(slow(3), timer(torch.device("cpu")))
    for _ in batches:
        now[0] += 50
    assert batches.seconds == 6


@dataclass(frozen=True)
class Mark:
    at: float

    def elapsed_time(self, later: "Mark", /) -> float:
        return (later.at - self.at) * 1000


class Device:
    """A queue of work as a GPU has it: work starts when it was launched and what is before it is done."""

    def __init__(self) -> None:
        self.now = 0.0  # the host's time
        self._free = 0.0  # when the device will have done all it was given

    def launch(self, seconds: float) -> None:
        self._free = max(self._free, self.now) + seconds

    def mark(self) -> Mark:
        self.launch(0.0)
        return Mark(self._free)


@pytest.mark.parametrize(
    ("loading", "step", "waited"),
    [
        (0.0, 1.0, 0.0),
        (0.9, 1.0, 0.9),  # the first batch; from then on the host waits, and the device has work
        (3.0, 1.0, 3.0 + 9 * 2.0),  # the device has nothing to do for 2 of 3 seconds
    ],
)
def test_the_devices_clock_counts_only_what_stood_still(loading: float, step: float, waited: float) -> None:
    device = Device()

    def batches() -> Iterator[int]:
        for item in range(10):
            device.now += loading
            yield item

    timed = TimedIterator(batches(), CudaTimer(device.mark))
    for _ in range(10):
        next(timed)
        device.launch(step)
    assert timed.seconds == pytest.approx(waited)


def test_an_end_of_the_batches_is_passed_on() -> None:
    for one in (CpuTimer(), CudaTimer(Device().mark)):
        assert list(TimedIterator(iter([1, 2]), one)) == [1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("graphs", [False, True])
def test_an_epoch_on_a_gpu_never_waits(
    trainer: Make, recipe: Make, batches: Make, ema: float | None, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = batches()
    loader.images, loader.labels = loader.images.pin_memory(), loader.labels.pin_memory()
    plain = type(loader).epoch

    def pinned(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        return ((images.pin_memory(), labels.pin_memory()) for images, labels in plain(loader, number))

    loader.epoch = pinned
    ours: Trainer = trainer(
        device="cuda", precision="auto", channels_last=None, compile=True, cuda_graphs=graphs, ema=ema, dropout=0.3,
        recipe=recipe(clip_norm=0.5), batches=loader,
    )  # fmt: skip
    read = Meters.read

    def reading(meters: Meters) -> dict[str, float]:
        torch.cuda.set_sync_debug_mode("default")  # the one reading, at the end
        return read(meters)

    with ours.hardware.settings():
        ours.train_epoch(0)  # compiles, tries algorithms, records graphs
        ours.train_epoch(1)
        monkeypatch.setattr(Meters, "read", reading)
        torch.cuda.set_sync_debug_mode("error")
        try:
            row = ours.train_epoch(2)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert 0 <= row["data_wait"] <= 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("graphs", [False, True])
def test_a_gpu_trains_to_what_a_cpu_does(trainer: Make, tmp_path: Any, compile: bool, graphs: bool) -> None:
    """Two micro-batches a step: with CUDA graphs the sum of their gradients is what could go wrong."""
    expected = trainer(folder=tmp_path / "cpu").fit()
    found = trainer(
        device="cuda", channels_last=None, compile=compile, cuda_graphs=graphs and compile, folder=tmp_path / "gpu"
    ).fit()
    losses = [[row["train_loss"] for row in outcome.rows] for outcome in (expected, found)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
