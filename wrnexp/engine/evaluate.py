"""Evaluation: a free function from a model and batches to logits and what they are worth."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wrnexp.engine.hardware import Hardware
from wrnexp.engine.ranks import Ranks


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


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], hardware: Hardware, ranks: Ranks | None = None
) -> Evaluation:
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
        logits, labels = (_in_order(ranks.gathered([part.cpu() for part in parts])) for parts in (logits, labels))
    return Evaluation(torch.cat(logits).cpu(), torch.cat(labels).cpu())


def _in_order(dealt: list[list[Tensor]]) -> list[Tensor]:
    """Return batches in the order that they had before they were dealt out in turn."""
    return [batch for batch in chain.from_iterable(zip_longest(*dealt)) if batch is not None]
