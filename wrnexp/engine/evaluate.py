"""Evaluation: a free function from a model and batches to logits, and the evaluations of a training."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wrnexp.engine.compiling import FixedSize, compiled
from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.hardware import Hardware

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on a split, in its order.

    Attributes:
        logits: float32 [N, classes], on the CPU.
        labels: int64 [N], on the CPU.
    """

    logits: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> float:
        """The share of images whose largest logit is the label's, in 0..1."""
        return float((self.logits.argmax(1) == self.labels).double().mean())

    @property
    def loss(self) -> float:
        """The mean cross-entropy in nats, without label smoothing."""
        return float(F.cross_entropy(self.logits.double(), self.labels))


@dataclass(frozen=True)
class Splits:
    """The batches to evaluate on, each to be iterated over many times. No validation where `val` is None."""

    test: Batches
    val: Batches | None = None


@torch.no_grad()  # not inference mode: torch.compile tells its tensors from others, and would compile for each kind
def evaluate(model: nn.Module, batches: Batches, hardware: Hardware, ranks: Ranks | None = None) -> Evaluation:
    """Return the model's answers in evaluation mode; its mode is put back afterwards.

    Args:
        model: maps float32 [B, 3, H, W] to logits [B, classes].
        batches: normalised images and int64 labels [B].
        hardware: where to compute. Nothing waits for the device between batches.
        ranks: the processes that share the run. Each has a part of the batches: they were dealt out in turn. All get
            all answers.
    """
    training = model.training
    model.eval()
    logits, labels = [], []
    for batch in batches:
        images, targets = hardware.batch(*batch)
        with hardware.autocast():
            logits.append(model(images).float())
        labels.append(targets)
    model.train(training)
    if ranks is not None and ranks.count > 1:
        logits, labels = (_in_order(ranks.all_gather([part.cpu() for part in parts])) for parts in (logits, labels))
    return Evaluation(torch.cat(logits).cpu(), torch.cat(labels).cpu())


@dataclass
class Evaluator:
    """Evaluates one network on the splits of a training; compiled where the training is.

    Attributes:
        test_looks: how often the test set was read.
        seconds: spent in evaluations by this process.
    """

    model: nn.Module
    splits: Splits
    hardware: Hardware
    ranks: Ranks
    test_looks: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        # Without CUDA graphs: a replay would overwrite the logits of the batch before.
        fast = self.hardware.compile
        self._forward = FixedSize(self.model, compiled(self.model, cuda_graphs=False)) if fast else self.model

    def warm_up(self) -> None:
        """Compile the forward pass for the larger of the splits' batches, on zeros. Waits for the device."""
        firsts = [batch for split in (self.splits.test, self.splits.val or ()) for batch in islice(split, 1)]
        if firsts:
            images, labels = max(firsts, key=lambda batch: len(batch[1]))
            evaluate(self._forward, [(torch.zeros_like(images), labels)], self.hardware)

    def validate(self) -> Evaluation | None:
        """Evaluate on the validation images; None without any."""
        return None if self.splits.val is None else self._timed(self.splits.val)

    def test(self) -> Evaluation:
        """Evaluate on the test images, and count it."""
        evaluation = self._timed(self.splits.test)
        self.test_looks += 1  # an interrupted evaluation has shown nothing
        return evaluation

    def _timed(self, batches: Batches) -> Evaluation:
        start = time.perf_counter()
        self.ranks.broadcast_(self.model.buffers())  # where each has batch statistics of its own, one must be evaluated
        evaluation = evaluate(self._forward, batches, self.hardware, self.ranks)
        self.seconds += time.perf_counter() - start
        return evaluation


def _in_order(dealt: list[list[Tensor]]) -> list[Tensor]:
    """Return batches in the order that they had before they were dealt out in turn."""
    return [batch for batch in chain.from_iterable(zip_longest(*dealt)) if batch is not None]
