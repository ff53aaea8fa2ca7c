"""A small training that everything in these tests shares: 26 random images, WRN-10-1, float32."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from wrnexp.engine import Checkpoints, Trainer
from wrnexp.engine.trainer import Splits
from wrnexp.models import WideResNet
from wrnexp.optim import Cosine, SGDRecipe, averaged
from wrnexp.tensors import step_plan

CLASSES, IMAGES, SIZE = 5, 26, 8


@dataclass
class Batches:
    """Micro-batches of fixed images in an order that depends on the epoch."""

    images: Tensor
    labels: Tensor
    batch_size: int = 4
    accumulate: int = 2
    drop_last: bool = False

    @property
    def plan(self) -> list[tuple[int, ...]]:
        return step_plan(len(self.images), self.batch_size, self.accumulate, drop_last=self.drop_last)

    def order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.images), generator=torch.Generator().manual_seed(epoch))

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = self.order(epoch)
        start = 0
        for size in (size for step in self.plan for size in step):
            chosen = order[start : start + size]
            start += size
            yield self.images[chosen], self.labels[chosen]


@dataclass
class Watcher:
    """Keeps what it hears; `stop_after` epochs it ends the process's training as Ctrl-C would."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    stop_after: int | None = None
    before: tuple[float | None, float | None] | None = None

    def on_start(self, start_seconds: float | None, compile_seconds: float | None) -> None:
        self.before = start_seconds, compile_seconds

    def on_resume(self, rows: list[dict[str, Any]]) -> None:
        self.rows = list(rows)

    def on_step(self, epoch: int, step: int) -> None:
        self.steps.append((epoch, step))

    def on_epoch(self, rows: list[dict[str, Any]]) -> None:
        self.rows = list(rows)
        if len(rows) == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def recipe() -> Callable[..., SGDRecipe]:
    def make(**changes: Any) -> SGDRecipe:
        values: dict[str, Any] = {
            "epochs": 3,
            "lr": 0.05,
            "momentum": 0.9,
            "nesterov": True,
            "weight_decay": 1e-3,
            "decay_norm_and_bias": True,
            "label_smoothing": 0.1,
            "accumulate": 2,
            "clip_norm": None,
            "schedule": Cosine(warmup_epochs=1),
        }
        return SGDRecipe(**(values | changes))

    return make


@pytest.fixture
def batches() -> Callable[..., Batches]:
    def make(**changes: Any) -> Batches:
        generator = torch.Generator().manual_seed(7)
        images = torch.randn(IMAGES, 3, SIZE, SIZE, generator=generator)
        labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
        return Batches(images, labels, **changes)

    return make


@pytest.fixture
def trainer(
    tmp_path: Path, recipe: Callable[..., SGDRecipe], batches: Callable[..., Batches]
) -> Callable[..., Trainer]:
    def make(**changes: Any) -> Trainer:
        loader = changes.pop("batches", None) or batches()
        torch.manual_seed(0)
        values: dict[str, Any] = {
            "device": "cpu",
            "precision": "fp32",
            "channels_last": False,
            "compile": False,
            "memory_budget": 1.0,
            "cuda_graphs": None,
            "ema": None,
            "test_every": 1,
            "model": WideResNet(10, 1, changes.pop("dropout", 0.0), 0.0, num_classes=CLASSES),
            "recipe": changes.pop("recipe", None) or recipe(),
            "batches": loader,
            "splits": Splits(test=list(loader.epoch(99))),
            "average": averaged,
            "checkpoints": Checkpoints(changes.pop("folder", tmp_path) / "checkpoints"),
            "watcher": Watcher(),
            "seed": 3,
        }
        return Trainer(**(values | changes))

    return make


@pytest.fixture
def watcher() -> type[Watcher]:
    return Watcher
