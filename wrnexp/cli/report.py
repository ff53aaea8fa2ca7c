"""`wrnexp report` and `wrnexp compare`: tables and plots from the records of runs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wrnexp.config.identity import slug
from wrnexp.errors import UserError
from wrnexp.process.terminal import Terminal

if TYPE_CHECKING:
    from wrnexp.report.tables import Report

FOLDERS = (Path("outputs"), Path("multirun"))


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both commands."""
    _add_report(subparsers)
    _add_compare(subparsers)


def report(args: argparse.Namespace) -> int:
    """Report on all runs in and below some folders."""
    # scipy takes a second to import: `wrnexp --help` should not wait for it.
    from wrnexp.report.build import build

    return _shown(build(args.folders, args.out or args.folders[0] / "report", args.baseline))


def compare(args: argparse.Namespace) -> int:
    """Compare two arms and hold the claims against them."""
    from wrnexp.report.build import compare

    folders = args.dir or [folder for folder in FOLDERS if folder.is_dir()]
    if not folders and not any(Path(arm).is_dir() for arm in (args.a, args.b)):
        raise UserError("there is no folder outputs or multirun here: say with --dir where the runs are.")
    name = f"compare-{slug(Path(args.a).name)}-{slug(Path(args.b).name)}"
    return _shown(compare(args.a, args.b, folders, args.out or (folders or [Path()])[0] / name))


def _add_report(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "report",
        help="compare all runs in some folders",
        description="Compare all runs in and below some folders: writes index.html, report.md, report.json and plots.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="a run's folder, or one above such folders"
    )
    parser.add_argument("--baseline", metavar="LABEL", help="the arm that the others are compared with (default: base)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: report in the first DIR)")
    parser.set_defaults(run=report)


def _add_compare(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "compare",
        help="compare two arms, with the claims table",
        description="Compare two arms and hold the claims about the light recipe against them, A in the place of base.",
    )
    parser.add_argument("a", metavar="A", help="label of an arm, or the folder of one of its runs")
    parser.add_argument("b", metavar="B", help="the arm compared with it")
    parser.add_argument(
        "--dir", nargs="+", type=Path, metavar="DIR", help="where the runs are (default: outputs and multirun)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: compare-A-B in the first of these)"
    )
    parser.set_defaults(run=compare)


def _shown(built: "Report") -> int:
    from wrnexp.report.text.console import print_report

    print_report(built, Terminal())
    return 0
