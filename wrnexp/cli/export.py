"""`wrnexp export RUN --format F`: a completed run's network as a file for other programs, checked."""

import argparse
from pathlib import Path

from wrnexp.cli.runs import add_run, find_run
from wrnexp.errors import UserError
from wrnexp.process.terminal import printable, warn

FORMATS = ("safetensors", "onnx", "pt2")

DESCRIPTION = """\
Write a completed run's network to a file, read the file again and compare its answers with the network's on images that
are drawn here: a file that answers otherwise is not kept (exit code 1). onnx and pt2 take float32 images [N, 3, H, W],
RGB in 0..1, have the normalisation in the graph, and give logits [N, classes]. safetensors holds weights for the class
that they belong to, which takes normalised images. Each holds config, classes, mean, std and figures as metadata."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser("export", help="the network as safetensors, ONNX or pt2", description=DESCRIPTION)
    add_run(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="onnx needs the extra onnx")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: exported.<format> in the run's folder)")
    parser.add_argument(
        "--batch", type=_batch, default=None, metavar="N", help="images at a time, or dynamic: any number (default)"
    )
    parser.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    """Write the file; return 1 where it would not be as good as the network."""
    from wrnexp.trained import export_run, open_run
    from wrnexp.trained.checked_export import ExportError

    run = open_run(find_run(args.run_folder), allow=args.allow_target)
    file = args.out or run.folder / f"exported.{args.format}"
    _check_place(file, run.folder, args.format)
    try:
        found = export_run(run, args.format, file, args.batch)
    except ExportError as error:
        warn(f"error: {error}; no file was written to {file}")
        return 1
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error})") from error
    print(f"{printable(str(file))}: {file.stat().st_size:,} bytes")
    print(
        f"The largest difference of a logit from the network's, on {found.images} drawn images, is "
        f"{found.difference:.2g} (allowed: {found.allowed:.2g})."
    )
    return 0


def _check_place(file: Path, folder: Path, kind: str) -> None:
    """Refuse to write where a run's own files are, and names that other programs would not know."""
    if file.suffix != f".{kind}":
        raise UserError(f"--out {file}: the name of a file in this format ends in .{kind}")
    if file.resolve() == (folder / "model.safetensors").resolve():
        raise UserError(f"--out {file} is the run's own file of weights: give another name")
    if file.is_dir():
        raise UserError(f"--out {file} is a folder: give the name of a file")


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of images from 1 nor dynamic")
    return int(text)
