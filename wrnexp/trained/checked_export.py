"""A trained network as a file for other programs, kept only where the file, read again, answers as the network does."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wrnexp.errors import one_line
from wrnexp.trained.classifier import Classifier
from wrnexp.trained.formats import Answer, Format, Metadata

# Batches that a file with an open batch is tried with; images that are left make the last one.
TRIED = (1, 3)


class ExportError(Exception):
    """The network could not be written in this format, or the file that came of it is not as good as the network."""


@dataclass(frozen=True)
class Compared:
    """How near a file's answers are to the network's.

    Attributes:
        difference: the largest difference of a logit.
        allowed: the largest that is let pass.
        images: that were compared.
    """

    difference: float
    allowed: float
    images: int


def export(
    classifier: Classifier, form: Format, images: Tensor, file: Path, metadata: Metadata, batch: int | None = None
) -> Compared:
    """Write a network to a file, which is kept if it answers as the network does when it is read again.

    Args:
        classifier: on the CPU, in evaluation mode.
        form: the format.
        images: float32 [N, 3, H, W] in 0..1 to compare the answers on; N is a multiple of `batch`, or at least 5.
        file: what is there is replaced.
        metadata: texts by name that the file shall hold.
        batch: images that the file takes at a time; None is any number.

    Raises:
        ExportError: no file is left, or that which was there before.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as beside:
        written = Path(beside) / f"written{file.suffix}"
        try:
            example = images[: batch or 2].clone()  # formats keep it, and with a view all that it is of
            form.write(classifier, example, written, metadata, open_batch=batch is None)
            answer, kept = form.read(written)
            found = _compare(classifier, answer, list(_batches(images, batch)), form.tolerance)
        except Exception as error:  # of any kind: the exporters' own are many
            raise ExportError(f"the network cannot be exported so: {one_line(error)}") from error
        if not found.difference <= found.allowed:  # nor where it is not a number
            raise ExportError(
                f"the file answers otherwise than the network: the largest difference of a logit is "
                f"{found.difference:.2g}, allowed is {found.allowed:.2g}"
            )
        if kept != dict(metadata):
            raise ExportError("the file does not hold the metadata that were written into it")
        written.chmod(0o644)  # safetensors lets nobody else read
        written.replace(file)
    return found


@torch.no_grad()
def _compare(classifier: Classifier, answer: Answer, batches: list[Tensor], tolerance: float) -> Compared:
    own = torch.cat([classifier(batch) for batch in batches])
    other = torch.cat([answer(batch) for batch in batches])
    if own.shape != other.shape:
        raise ValueError(f"its answers are {list(other.shape)}, the network's are {list(own.shape)}")
    allowed = tolerance * max(1.0, float(own.abs().max()))
    return Compared(float((own - other).abs().max()), allowed, len(own))


def _batches(images: Tensor, batch: int | None) -> Iterator[Tensor]:
    """Yield all images in batches as the file takes them."""
    sizes = [*TRIED, len(images) - sum(TRIED)] if batch is None else [batch] * (len(images) // batch)
    yield from torch.split(images, sizes)
