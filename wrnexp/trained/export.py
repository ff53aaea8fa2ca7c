"""A completed run's network as a file for other programs."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wrnexp.data.sources.shapes import CHUNK, draw
from wrnexp.trained.checked_export import Compared, export
from wrnexp.trained.formats import Format, Onnx, Pt2, SafeTensors
from wrnexp.trained.opening import Trained, network

COMPARED = 64  # images


def export_run(run: Trained, kind: str, file: Path, batch: int | None = None) -> Compared:
    """Write a run's network to a file and compare the file's answers with the network's, on images that are drawn here.

    The test set is not read. The file holds, as texts: `run_id`, `label`, and in JSON `config`, `classes`, `mean`,
    `std`, `image_size` and `metrics`.

    Args:
        run: whose network is written.
        kind: `safetensors`, `onnx` or `pt2`.
        file: where to; what is there is replaced.
        batch: images that the file takes at a time; None is any number.

    Raises:
        UserError: a package that the format needs is not installed.
        ExportError: the file would not be as good as the network; none is left.
    """
    count = COMPARED if batch is None else batch * -(-COMPARED // batch)
    return export(run.classifier, _format(run, kind), _drawn(count, run.signature.image_size), file, _texts(run), batch)


def _format(run: Trained, kind: str) -> Format:
    if kind == "onnx":
        return Onnx()
    if kind == "pt2":
        return Pt2()
    classifier = run.classifier
    return SafeTensors(lambda: network(run.record, run.signature, run.allow), classifier.mean, classifier.std)


def _drawn(count: int, side: int) -> Tensor:
    """Return images of the embedded data set, float32 [count, 3, side, side] in 0..1."""
    pixels = draw("test", CHUNK * -(-count // CHUNK)).images[:count]
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255
    return images if images.shape[-1] == side else F.interpolate(images, (side, side))


def _texts(run: Trained) -> dict[str, str]:
    record, signature = run.record, run.signature.model_dump(mode="json")
    values = {"config": record.config, "metrics": record.metrics, **signature}
    return {"run_id": record.run_id, "label": record.label} | {key: json.dumps(one) for key, one in values.items()}
