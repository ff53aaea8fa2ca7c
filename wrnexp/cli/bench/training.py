"""Training on synthetic images, through wrnexp's own trainer: what the benchmarks time and profile."""

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wrnexp.cli.bench import Figure
from wrnexp.cli.bench.pace import Side, timed

if TYPE_CHECKING:
    from torch import Tensor

    from wrnexp.engine import Hardware, Trainer
    from wrnexp.engine.step import Batch, TrainStep
    from wrnexp.optim import SGDRecipe


class Net(NamedTuple):
    """A wide ResNet, and the images of its recipe's micro-batch."""

    depth: int
    width: int
    dropout: float
    stem_dropout: float
    batch: int


NETS = {"light": Net(16, 8, 0.25, 0.1, 512), "base": Net(28, 10, 0.3, 0.0, 128), "small": Net(10, 1, 0.0, 0.0, 64)}
CLASSES = 100
CPU_BATCH = 64
MATRIX_ROWS = {"cpu": 2048, "cuda": 8192}  # large enough for the peak, small enough to be quick
PRODUCTS = 15  # products in one measurement of the peak; the median counts, as the step's time has slow moments too


def batch_size(net: str, given: int | None, hardware: "Hardware") -> int:
    """Return the images of a batch: those that are given, else the recipe's on a GPU and `CPU_BATCH` elsewhere."""
    return given or (NETS[net].batch if hardware.device.type == "cuda" else CPU_BATCH)


def synthetic_batch(count: int, hardware: "Hardware") -> "Batch":
    """Return images float32 [count, 3, 32, 32] and labels int64 [count], in page-locked memory where there is a GPU."""
    import torch

    images, labels = torch.randn(count, 3, 32, 32), torch.randint(CLASSES, (count,))
    return (images.pin_memory(), labels.pin_memory()) if hardware.device.type == "cuda" else (images, labels)


def sgd(clip_norm: float | None) -> "SGDRecipe":
    """Return a recipe for the optimizer; its rates do not matter here."""
    from wrnexp.optim import Cosine, SGDRecipe

    return SGDRecipe(
        epochs=100, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=True,
        label_smoothing=0.1, accumulate=1, clip_norm=clip_norm, schedule=Cosine(),
    )  # fmt: skip


def compilation(name: str, step: "TrainStep", batch: "Batch") -> Iterator[Figure]:
    """Compile a step for batches like `batch`; yield the seconds that it took, or nothing where it runs uncompiled."""
    start = time.perf_counter()
    step.warm_up(batch, [len(batch[1])])
    if step.hardware.compile:
        yield Figure(f"{name}, compilation", time.perf_counter() - start, "s")


@dataclass
class Repeated:
    """The same batch `steps` times per epoch, in place of a loader.

    Attributes:
        batch: images float32 [B, 3, 32, 32] and labels int64 [B].
        steps: steps of an epoch.
    """

    batch: "Batch"
    steps: int = 1

    @property
    def plan(self) -> list[tuple[int, ...]]:
        """The sizes of the micro-batches of each step of an epoch."""
        return [(len(self.batch[1]),)] * self.steps

    def epoch(self, epoch: int) -> "Iterator[tuple[Tensor, Tensor]]":
        """Return the batches of an epoch."""
        return iter([self.batch] * self.steps)


class SyntheticTraining:
    """A net of `NETS` in wrnexp's trainer, as a run would have it, and one batch in place of the data.

    Attributes:
        net: the net.
        batch: images float32 [B, 3, 32, 32] and labels int64 [B].
        trainer: the trainer.
        hardware: of the trainer.
        name: net, batch, device and precision, for the names of figures.
    """

    def __init__(self, net: str, images: int | None, device: str = "auto", precision: str = "auto") -> None:
        """Build the trainer.

        Args:
            net: a key of `NETS`.
            images: of a batch; None is what `batch_size` chooses.
            device: as `trainer.device`.
            precision: as `trainer.precision`.
        """
        from wrnexp.engine import Hardware

        self.net = NETS[net]
        hardware = Hardware.settle(device)
        self.batch = synthetic_batch(batch_size(net, images, hardware), hardware)
        self._batches = Repeated(self.batch)
        self.trainer = self._trainer(device, precision)
        self.hardware = self.trainer.hardware
        where = f"{self.hardware.device.type}, {self.hardware.precision}"
        self.name = f"WRN-{self.net.depth}-{self.net.width}, batch {len(self.batch[1])} ({where})"

    def _trainer(self, device: str, precision: str) -> "Trainer":
        from wrnexp.engine import Checkpoints, Trainer
        from wrnexp.engine.evaluate import Splits
        from wrnexp.models import WideResNet, multiply_adds
        from wrnexp.optim import averaged

        depth, width, dropout, stem_dropout, _ = self.net
        model = WideResNet(depth, width, dropout, stem_dropout, num_classes=CLASSES)
        return Trainer(
            device=device, precision=precision, channels_last=None, compile=None, cuda_graphs=None,
            memory_budget=1.0, ema=None, test_every=0, model=model, recipe=sgd(clip_norm=None),
            batches=self._batches, splits=Splits(test=[]), average=averaged,
            checkpoints=Checkpoints(Path()), checkpoint_seconds=math.inf, watcher=_Deaf(), seed=0,
            macs_per_image=multiply_adds(model, 32),
        )  # fmt: skip

    @property
    def gflop_per_image(self) -> float:
        """10^9 floating-point operations of a training image: 6 per multiply-add of the forward pass."""
        assert self.trainer.macs_per_image is not None
        return 6 * self.trainer.macs_per_image / 1e9

    def compilation(self) -> Iterator[Figure]:
        """Compile the step; yield the seconds that it took, where it is compiled."""
        return compilation(self.name, self.trainer.step, self.batch)

    def train(self, steps: int) -> None:
        """Train an epoch of so many steps: schedule, meters, clocks and all."""
        self._batches.steps = steps
        self.trainer.train_epoch(0)

    def epoch(self, amount: float) -> Side:
        """Return the side that trains epochs of the trainer; one image comes to `amount`."""
        return timed(self.train, amount * len(self.batch[1]), self.hardware.synchronize)


def matrix_product(hardware: "Hardware") -> Side:
    """Return the side that multiplies large square matrices in the precision of the step, in GFLOP/s."""
    import torch

    rows = MATRIX_ROWS.get(hardware.device.type, MATRIX_ROWS["cpu"])
    dtype = torch.bfloat16 if hardware.bf16 else torch.float32
    left, right, out = (torch.randn(rows, rows, device=hardware.device).to(dtype) for _ in range(3))
    product = timed(lambda _: torch.mm(left, right, out=out), 2 * rows**3 / 1e9, hardware.synchronize)
    return Side(lambda repeats: statistics.median(product.rate(1) for _ in range(PRODUCTS)))


class _Deaf:
    """A watcher that hears nothing."""

    def on_resume(self, rows: object) -> None: ...

    def on_start(self, start_seconds: object, compile_seconds: object) -> None: ...

    def on_step(self, epoch: int, step: int) -> None: ...

    def on_epoch(self, rows: object) -> None: ...

    def on_recoveries(self, recoveries: object, *, resumed: bool = False) -> None: ...
