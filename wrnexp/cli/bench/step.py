"""`wrnexp bench step`: the training step against a plain loop, against the matrix peak, and against a bare step.

Three figures of one run, each side in turn with its other: images/s of the step against a plain float32 loop around the
same net (see `plain`); the step's FLOP/s as a share of those of a large square matrix product in the same precision;
and images/s of the trainer's own epoch against the same step's arithmetic with nothing around it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wrnexp.cli.bench import Figure, compared, positive

if TYPE_CHECKING:
    from torch import Tensor

    from wrnexp.engine import Trainer

NETS = {"light": (16, 8, 0.25, 0.1), "base": (28, 10, 0.3, 0.0), "small": (10, 1, 0.0, 0.0)}
CLASSES = 100
SIZES = {"cpu": 2048, "cuda": 8192}  # rows of the square matrices: large enough for the peak, small enough to be quick
PRODUCTS = 15  # products in one measurement of the peak; the median counts, as the step's time has slow moments too


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "step",
        help="images/s of the training step: against a plain loop, the matrix peak and a bare step",
        description=__doc__,
    )
    parser.add_argument("--model", choices=sorted(NETS), default="light", help="the net (default: light, WRN-16-8)")
    parser.add_argument("--batch", type=positive, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--rounds", type=positive, default=5, help="pairs against plain and peak (default: 5)")
    parser.add_argument("--loop-rounds", type=positive, default=20, help="pairs of own and bare loop (default: 20)")
    parser.add_argument("--steps", type=positive, help="steps a side in a pair (default: 1, on a GPU 50)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="(default: auto)")
    return parser


def measure(args: argparse.Namespace) -> list[Figure]:
    """Return three figures: against the plain loop, against the matrix peak, own loop against the bare step."""
    import torch

    from wrnexp.engine import Hardware

    images, labels = torch.randn(args.batch, 3, 32, 32), torch.randint(CLASSES, (args.batch,))
    on_gpu = Hardware.settle(args.device).device.type == "cuda"
    if on_gpu:  # as the loader has them
        images, labels = images.pin_memory(), labels.pin_memory()
    bench = _Bench(args.model, images, labels, args.steps or (50 if on_gpu else 1))
    trainer = bench.trainer(args.device, args.precision)
    hardware = trainer.hardware
    depth, width, *_ = NETS[args.model]
    name = f"WRN-{depth}-{width}, batch {args.batch} ({hardware.device.type}, {hardware.precision})"
    with hardware.settings():
        epoch, step, plain = bench.epoch(trainer), bench.bare(trainer), bench.plain(trainer)
        for side in (epoch, step, plain):  # warm up: allocators, compilers
            side()
        return [
            compared(f"{name}, against a plain loop", "images/s", epoch, plain, args.rounds),
            _share_of_peak(f"{name}, against the matrix peak", trainer, epoch, args.rounds),
            compared(f"{name}, own loop against its step", "images/s", epoch, step, args.loop_rounds),
        ]


def _share_of_peak(name: str, trainer: "Trainer", epoch: Callable[[], float], rounds: int) -> Figure:
    """Return GFLOP/s of the training against those of a matrix product; an image takes 6 a multiply-add."""
    assert trainer.macs_per_image is not None
    giga = 6 * trainer.macs_per_image / 1e9
    product = _matrix_product(trainer)
    product()
    return compared(name, "GFLOP/s", lambda: epoch() * giga, product, rounds)


def _matrix_product(trainer: "Trainer") -> Callable[[], float]:
    """Return a function that measures the GFLOP/s of a square matrix product in the precision of the step."""
    import torch

    hardware = trainer.hardware
    size = SIZES.get(hardware.device.type, SIZES["cpu"])
    dtype = torch.bfloat16 if hardware.bf16 else torch.float32
    left, right, out = (torch.randn(size, size, device=hardware.device).to(dtype) for _ in range(3))

    def once() -> float:
        start = _now(trainer)
        torch.mm(left, right, out=out)
        return _now(trainer) - start

    return lambda: 2 * size**3 / statistics.median(once() for _ in range(PRODUCTS)) / 1e9


def _now(trainer: "Trainer") -> float:
    trainer.hardware.synchronize()
    return time.perf_counter()


@dataclass(frozen=True)
class _Bench:
    """One batch, and the sides that train on it; each side is a function that returns its images/s over `steps` steps.

    Attributes:
        net: a key of NETS.
        images: float32 [B, 3, 32, 32].
        labels: int64 [B].
        steps: steps in a measurement.
    """

    net: str
    images: "Tensor"
    labels: "Tensor"
    steps: int

    def trainer(self, device: str, precision: str) -> "Trainer":
        """Return wrnexp's trainer as a run would have it, with the batch in the place of a loader."""
        from wrnexp.engine import Checkpoints, Trainer
        from wrnexp.engine.trainer import Splits
        from wrnexp.models import WideResNet, multiply_adds
        from wrnexp.optim import Cosine, SGDRecipe, averaged

        model = WideResNet(*NETS[self.net], num_classes=CLASSES)
        recipe = SGDRecipe(
            epochs=100, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=True,
            label_smoothing=0.1, accumulate=1, clip_norm=None, schedule=Cosine(),
        )  # fmt: skip
        return Trainer(
            device=device, precision=precision, channels_last=None, compile=None, cuda_graphs=None,
            memory_budget=1.0, ema=None, test_every=0, model=model, recipe=recipe,
            batches=_Repeated(self.images, self.labels, self.steps),
            splits=Splits(test=[]), average=averaged, checkpoints=Checkpoints(Path()), watcher=_Deaf(), seed=0,
            macs_per_image=multiply_adds(model, 32),
        )  # fmt: skip

    def epoch(self, trainer: "Trainer") -> Callable[[], float]:
        """Return the trainer's own epoch: schedule, meters, clocks and all."""
        return partial(self._speed, trainer, lambda: trainer.train_epoch(0))

    def bare(self, trainer: "Trainer") -> Callable[[], float]:
        """Return the arithmetic of the trainer's step and nothing else: forward, loss, backward, update."""
        hardware, forward, optimizer = trainer.hardware, trainer.step.forward, trainer.step.optimizer

        def steps() -> None:
            for _ in range(self.steps):
                images, labels = hardware.batch(self.images, self.labels)
                with hardware.autocast():
                    logits = forward(images)
                (trainer.recipe.loss(logits, labels) / len(labels)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                trainer.step.clear_gradients()

        return partial(self._speed, trainer, steps)

    def plain(self, trainer: "Trainer") -> Callable[[], float]:
        """Return the plain loop on the same device."""
        from wrnexp.cli.bench.plain import PlainWideResNet, plain_step

        device = trainer.hardware.device
        net = PlainWideResNet(*NETS[self.net], num_classes=CLASSES).to(device)
        step = plain_step(net, self.images.to(device), self.labels.to(device))

        def steps() -> None:
            for _ in range(self.steps):
                step()

        return partial(self._speed, trainer, steps)

    def _speed(self, trainer: "Trainer", run: Callable[[], object]) -> float:
        start = _now(trainer)
        run()
        return len(self.labels) * self.steps / (_now(trainer) - start)


@dataclass(frozen=True)
class _Repeated:
    """The same batch, `steps` times an epoch, in the place of a loader."""

    images: "Tensor"
    labels: "Tensor"
    steps: int

    @property
    def plan(self) -> list[tuple[int, ...]]:
        return [(len(self.labels),)] * self.steps

    def epoch(self, epoch: int) -> "Iterator[tuple[Tensor, Tensor]]":
        return iter([(self.images, self.labels)] * self.steps)


class _Deaf:
    """A watcher that hears nothing."""

    def on_resume(self, rows: object) -> None: ...

    def on_step(self, epoch: int, step: int) -> None: ...

    def on_epoch(self, rows: object) -> None: ...
