"""Training speed on a GPU: what the project promises of both recipes with `loader=resident`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.promises import AUGMENTATION_SHARE, promised
from wrnexp.cli.bench.recipes import CLASSES, dataset, recipe
from wrnexp.data import ResidentLoader
from wrnexp.engine import Checkpoints, Trainer
from wrnexp.engine.evaluate import Splits
from wrnexp.models import WideResNet, multiply_adds
from wrnexp.optim import Cosine, SGDRecipe, averaged

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

# Net, micro-batch, micro-batches per step, clipping, label smoothing.
RECIPES: dict[str, tuple[tuple[int, int, float, float], int, int, float | None, float]] = {
    "light": ((16, 8, 0.25, 0.1), 512, 2, 0.5, 0.15),
    "base": ((28, 10, 0.3, 0.0), 128, 1, None, 0.1),
}


class Watcher:
    """Hears nothing."""

    def on_start(self, start_seconds: float | None, compile_seconds: float | None) -> None: ...

    def on_resume(self, rows: list[dict[str, Any]]) -> None: ...

    def on_step(self, epoch: int, step: int) -> None: ...

    def on_epoch(self, rows: list[dict[str, Any]]) -> None: ...

    def on_recoveries(self, recoveries: list[dict[str, Any]], *, resumed: bool = False) -> None: ...


class Prepared:
    """The batches of one epoch of a loader, given again and again: training without augmentation."""

    def __init__(self, loader: ResidentLoader) -> None:
        self.plan = loader.plan
        self._first = list(loader.epoch(0))
        self.epoch: Callable[[int], Any] = lambda epoch: iter(self._first)


@pytest.mark.parametrize("name", RECIPES)
def test_images_a_second_and_the_share_of_augmentation(name: str, tmp_path: Path) -> None:
    least = promised(name)
    net, batch, accumulate, clip, smoothing = RECIPES[name]
    loader = ResidentLoader(
        dataset(tmp_path, 20_480), recipe(name), device="cuda", compile=True, accumulate=accumulate, seed=0,
        batch_size=batch, drop_last=True,
    )  # fmt: skip

    def speed(batches: Any) -> float:
        model = WideResNet(*net, num_classes=CLASSES)
        sgd = SGDRecipe(
            epochs=3, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=True,
            label_smoothing=smoothing, accumulate=accumulate, clip_norm=clip, schedule=Cosine(),
        )  # fmt: skip
        trainer = Trainer(
            device="cuda", precision="auto", channels_last=None, compile=None, cuda_graphs=None, memory_budget=1.0,
            ema=None, test_every=0, model=model, recipe=sgd, batches=batches, splits=Splits(test=[]), average=averaged,
            checkpoints=Checkpoints(tmp_path), watcher=Watcher(), seed=0, macs_per_image=multiply_adds(model, 32),
        )  # fmt: skip
        with trainer.hardware.settings():
            return float([trainer.train_epoch(epoch)["images_per_second"] for epoch in range(3)][-1])

    with_augmentation, without = speed(loader), speed(Prepared(loader))
    assert with_augmentation >= least
    assert with_augmentation >= (1 - AUGMENTATION_SHARE) * without
