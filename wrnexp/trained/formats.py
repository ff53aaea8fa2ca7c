"""Formats that a trained network is exported in: each writes a file, and reads it again as whoever uses it would.

`SafeTensors` holds weights, for the class that they belong to. `Onnx` (onnxruntime, and what else reads ONNX) and `Pt2`
(torch.export: torch without this package) hold the graph as well, the normalisation in it.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wrnexp.process.packages import require
from wrnexp.trained.classifier import Classifier

INPUT, OUTPUT = "images", "logits"
METADATA = "wrnexp.json"  # the name of the metadata within a .pt2 file
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Answer = Callable[[Tensor], Tensor]
Metadata = Mapping[str, str]


class Format(Protocol):
    """A file format.

    `tolerance` is the largest difference of a logit that is let pass, as a share of the largest logit, or of 1 where
    that is more. float32 resolves 6e-8; another order of the sums in a deep network adds up to some 1e-6.
    """

    tolerance: float

    def write(
        self, classifier: Classifier, example: Tensor, path: Path, metadata: Metadata, *, open_batch: bool
    ) -> None:
        """Write the file: `example` is a batch, `open_batch` says that any number of images shall be taken."""
        ...

    def read(self, path: Path) -> tuple[Answer, dict[str, str]]:
        """Return what answers to float32 images [N, 3, H, W] in 0..1 with logits [N, classes], and the metadata."""
        ...


class SafeTensors:
    """The network's weights under their names, in float32, equal to the last bit.

    Args:
        fresh: makes the network, with other weights, to load the file into.
        mean: of the normalisation, which the file only tells.
        std: likewise.
    """

    tolerance = 0.0

    def __init__(self, fresh: Callable[[], nn.Module], mean: Tensor, std: Tensor) -> None:
        self._fresh, self._mean, self._std = fresh, mean, std

    def write(
        self, classifier: Classifier, example: Tensor, path: Path, metadata: Metadata, *, open_batch: bool
    ) -> None:
        """Write the weights; `example` is not needed."""
        weights = {name: value.detach().contiguous() for name, value in classifier.model.state_dict().items()}
        save_file(weights, path, dict(metadata))

    def read(self, path: Path) -> tuple[Answer, dict[str, str]]:
        """Load the weights into a network of the class."""
        model = self._fresh().eval()
        model.load_state_dict(load_file(path))
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata())
        return lambda images: model((images - self._mean) / self._std), metadata


class Onnx:
    """An ONNX graph with the normalisation in it: input `images`, output `logits`.

    Raises:
        UserError: a package that it needs is not installed.
    """

    tolerance = 1e-4

    def __init__(self) -> None:
        require("ONNX", *ONNX_PACKAGES, extra="onnx")

    def write(
        self, classifier: Classifier, example: Tensor, path: Path, metadata: Metadata, *, open_batch: bool
    ) -> None:
        """Trace the network and write its graph, the weights in the same file."""
        with _quiet():
            program = torch.onnx.export(
                classifier,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=_shapes(open_batch),
                dynamo=True,
                verbose=False,
            )
        assert program is not None, "the exporter returns a program where it is not given a file"
        program.model.metadata_props.update(metadata)
        program.save(path, external_data=False)

    def read(self, path: Path) -> tuple[Answer, dict[str, str]]:
        """Open the file in onnxruntime, on the CPU."""
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def answer(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

        return answer, dict(session.get_modelmeta().custom_metadata_map)


class Pt2:
    """A program of torch.export with the normalisation in it; runs where torch is, without this package."""

    tolerance = 1e-4

    def write(
        self, classifier: Classifier, example: Tensor, path: Path, metadata: Metadata, *, open_batch: bool
    ) -> None:
        """Trace the network and write its program."""
        with _quiet():
            program = torch.export.export(classifier, (example,), dynamic_shapes=_shapes(open_batch))
            torch.export.save(program, path, extra_files={METADATA: json.dumps(dict(metadata))})

    def read(self, path: Path) -> tuple[Answer, dict[str, str]]:
        """Load the program."""
        kept: dict[str, Any] = {METADATA: ""}
        with _quiet():
            program = torch.export.load(path, extra_files=kept)
        return program.module(), json.loads(kept[METADATA])


def _shapes(open_batch: bool) -> Any:
    """Return which sizes of the input are left open, as torch.export wants it."""
    return ({0: torch.export.Dim("batch")},) if open_batch else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back warnings of the exporters, which speak of torch's insides: what counts is compared afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
