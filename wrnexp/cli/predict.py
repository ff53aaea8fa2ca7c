"""`wrnexp predict RUN IMAGE...`: what a completed run's network sees in image files."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wrnexp.cli.runs import add_run, find_run
from wrnexp.errors import UserError
from wrnexp.process.terminal import printable, warn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wrnexp.trained import Trained

TOP = 5
BATCH_SIZE = 500

DESCRIPTION = """\
Print the five most probable classes of image files (PNG, JPEG and what else Pillow reads). Images of another size are
brought to the network's as data.resize=true does, bilinear, whatever their aspect; grey is spread over the channels,
alpha is left out. A file that cannot be read is named on stderr and the exit code is 2; the others are still shown."""


class InputImage(NamedTuple):
    """An image file: its name, its pixels, uint8 [H, W, 3], of the network's size, and its own width and height."""

    file: str
    pixels: "NDArray[np.uint8]"
    size: tuple[int, int]

    @property
    def note(self) -> str:
        """Say whether it was resized."""
        (height, width), own = self.pixels.shape[:2], self.size
        return "" if own == (width, height) else f"resized from {own[0]}x{own[1]} to {width}x{height}"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser("predict", help="the most probable classes of image files", description=DESCRIPTION)
    add_run(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:<index> or mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print JSON: a list of an object an image")
    parser.set_defaults(run=predict)


def predict(args: argparse.Namespace) -> int:
    """Print the classes of every image that can be read; return 2 where one cannot."""
    from wrnexp.trained import open_run

    run = open_run(find_run(args.run_folder), allow=args.allow_target)
    pictures, mistakes = _read(args.images, run.signature.image_size)
    found = _most_probable(run, pictures, args.device) if pictures else []
    if args.json:
        print(json.dumps([_as_json(*one) for one in zip(pictures, found, strict=True)], indent=2))
    else:
        _show(pictures, found)
    for mistake in mistakes:
        warn(f"error: {mistake}")
    return 2 if mistakes else 0


def _read(files: Sequence[str], side: int) -> tuple[list[InputImage], list[UserError]]:
    """Return the images, and what is wrong with the files that are none."""
    from wrnexp.data.sources.decode import decode_sized

    pictures, mistakes = [], []
    for file in files:
        try:
            pictures.append(InputImage(file, *decode_sized(Path(file), file, resize=True, side=side)))
        except UserError as mistake:
            mistakes.append(mistake)
    return pictures, mistakes


def _most_probable(run: "Trained", pictures: Sequence[InputImage], device: str) -> list[list[tuple[str, float]]]:
    """Return the most probable classes of every image with their probabilities, the most probable first."""
    import numpy as np
    import torch

    from wrnexp.trained import hardware, probabilities

    settled, found = hardware(run.record, device), []
    for start in range(0, len(pictures), BATCH_SIZE):
        pixels = np.stack([one.pixels for one in pictures[start : start + BATCH_SIZE]])
        values, classes = torch.topk(probabilities(run, pixels, settled), min(TOP, len(run.signature.classes)))
        for likely, which in zip(values.tolist(), classes.tolist(), strict=True):
            found.append([(run.signature.classes[label], value) for label, value in zip(which, likely, strict=True)])
    return found


def _as_json(picture: InputImage, found: Sequence[tuple[str, float]]) -> dict[str, object]:
    classes = [{"class": name, "probability": value} for name, value in found]
    return {"image": picture.file, "width": picture.size[0], "height": picture.size[1], "classes": classes}


def _show(pictures: Sequence[InputImage], found: Sequence[Sequence[tuple[str, float]]]) -> None:
    for picture, classes in zip(pictures, found, strict=True):
        print(printable(picture.file) + (f" ({picture.note})" if picture.note else ""))
        likely = [(printable(name), value) for name, value in classes]
        width = max(len(name) for name, _ in likely)
        for name, value in likely:
            print(f"  {name:<{width}}  {100 * value:6.2f}%")
