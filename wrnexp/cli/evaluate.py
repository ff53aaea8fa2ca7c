"""`wrnexp evaluate RUN`: a completed run's weights on its test set once more."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wrnexp.cli.runs import add_run, find_run
from wrnexp.errors import UserError
from wrnexp.process.terminal import Terminal, printable, safe_text

if TYPE_CHECKING:
    from rich.table import Table

    from wrnexp.runs.record import CorruptionFigures, LaterEvaluation, Record
    from wrnexp.trained import Trained

DESCRIPTION = """\
Read the test set of a completed run once more: its figures beside the record's, on request averaged over each image and
its mirror image, and on corrupted test images (CIFAR-100-C, CIFAR-10-C). The record is not changed: what was found is
added to evaluations.json beside it, which counts how often the test set was read. Choose nothing by these figures."""

# Figures by their names in records, with a heading, a factor and a format.
SHOWN = (
    ("test_accuracy", "accuracy %", 100, ".2f"),
    ("test_top5_accuracy", "top-5 %", 100, ".2f"),
    ("test_nll", "NLL", 1, ".4f"),
    ("test_ece", "ECE", 1, ".4f"),
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="a completed run's weights on its test set, mirrored and corrupted",
        description=DESCRIPTION,
    )
    add_run(parser)
    parser.add_argument("--tta", action="store_true", help="also average over each image and its mirror image")
    parser.add_argument(
        "--corruptions",
        action="store_true",
        help="also read CIFAR-100-C (CIFAR-10-C), a folder of that name in or beside data.root, or in the cache folder",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:<index> or mps (default: auto)")
    parser.add_argument("--root", metavar="PATH", help="where the data set is, in place of the record's data.root")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write this evaluation to FILE")
    parser.set_defaults(run=evaluate)


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate, print, and keep what was found."""
    from wrnexp.trained import evaluate_run, open_run

    run = open_run(find_run(args.run_folder), args.root, args.allow_target)
    _check_earlier(run.folder)
    found = evaluate_run(run, device=args.device, root=args.root, mirrored=args.tta, corruptions=args.corruptions)
    console = Terminal(soft_wrap=True)
    _show(run, found, console)
    looks = _keep(run, found)
    kept = printable(str(run.folder / "evaluations.json"))
    console.print(f"The test set was read {looks} times for this run; kept in {kept}.")
    if args.json:
        _write(args.json, run.record, found)
    return 0


def _check_earlier(folder: Path) -> None:
    """Refuse evaluations that cannot be added to: a look at the test set would not be counted.

    Raises:
        UserError: evaluations.json is damaged.
    """
    from wrnexp.runs.record import RecordError, read_evaluations

    try:
        read_evaluations(folder)
    except RecordError as error:
        path = folder / "evaluations.json"
        raise UserError(
            f"{path} cannot be used ({error}), and would have to count this evaluation: move it away"
        ) from error


def _keep(run: "Trained", found: "LaterEvaluation") -> int:
    """Add to evaluations.json; return how often the test set has been read for this run."""
    from wrnexp.runs.locks import exclusive_run
    from wrnexp.runs.record import RecordError, add_evaluation, read_evaluations

    path = run.folder / "evaluations.json"
    try:
        with exclusive_run(run.folder):
            add_evaluation(run.folder, run.record.run_id, found)
            return run.record.test_looks + sum(one.test_looks for one in read_evaluations(run.folder))
    except RecordError as error:
        raise UserError(f"{path} cannot be used ({error}): the figures above are not kept; move it away") from error
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}): the figures above are not kept") from error


def _write(path: Path, record: "Record", found: "LaterEvaluation") -> None:
    from wrnexp.runs.record import write_json

    named = {"run_id": record.run_id, "label": record.label, "seed": record.seed, "record": record.metrics}
    try:
        write_json(path, named | found.model_dump(mode="json"))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error})") from error


def _show(run: "Trained", found: "LaterEvaluation", console: Terminal) -> None:
    record, told = run.record, found.provenance
    images = f"{record.data.test:,} test images of {record.data.name}" if record.data else "test images"
    console.print(printable(f"{record.label}, seed {record.seed}: {images}, on {told['device']}, {told['precision']}"))
    rows: list[tuple[str, Mapping[str, float | None]]] = [("in the record", record.metrics), ("now", found.metrics)]
    if found.mirrored is not None:
        rows.append(("now, mean with the mirror image", found.mirrored))
    console.print(_table(["", *(heading for _, heading, _, _ in SHOWN)], ([name, *_cells(row)] for name, row in rows)))
    console.print(printable(_verdict(record, found)))
    if found.corruptions is not None:
        _show_corruptions(found.corruptions, console)


def _cells(figures: Mapping[str, float | None]) -> list[str]:
    values = ((figures.get(key), factor, form) for key, _, factor, form in SHOWN)
    return ["-" if value is None else format(value * factor, form) for value, factor, form in values]


def _verdict(record: "Record", found: "LaterEvaluation") -> str:
    """Say whether the figures are those of the record, and what may be the reason where they are not."""
    from wrnexp.trained import differences, reasons

    if not (by := differences(record, found.metrics)):
        return "The figures are the record's, to the last digit."
    shown = ", ".join(f"{name.removeprefix('test_')} by {value:+.2g}" for name, value in by.items())
    other = ", ".join(reasons(record, found.provenance)) or "nothing that the record tells: threads, cores or kernels"
    return f"The figures differ from the record's ({shown}). What is another than in training: {other}."


def _show_corruptions(found: "CorruptionFigures", console: Terminal) -> None:
    from statistics import fmean

    heads = ["corruption", *(f"severity {number}" for number in range(1, 6)), "mean"]
    rows = (
        [name, *(f"{100 * one:.2f}" for one in (*values, fmean(values)))] for name, values in found.accuracy.items()
    )
    console.print(f"\n{printable(found.name)}: accuracy in %, {found.images:,} images a severity")
    console.print(_table(heads, rows))
    for value, which in ((found.mean_error, "the 15 of the benchmark"), (found.mean_error_all, "all 19")):
        shown = "not measured, for corruptions are missing" if value is None else f"{100 * value:.2f}%"
        console.print(f"mean error (mCE, not normalised) over {which}: {shown}")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(safe_text, row))
    return table
