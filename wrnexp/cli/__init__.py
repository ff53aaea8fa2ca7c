"""`wrnexp COMMAND`: everything around runs. Each command is a module of its own."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from wrnexp import __version__
from wrnexp.cli.ablate import add_parser as add_ablate
from wrnexp.cli.bench import add_parser as add_bench
from wrnexp.cli.data import add_parser as add_data
from wrnexp.cli.doctor import add_parser as add_doctor
from wrnexp.cli.evaluate import add_parser as add_evaluate
from wrnexp.cli.export import add_parser as add_export
from wrnexp.cli.plan import add_parser as add_plan
from wrnexp.cli.predict import add_parser as add_predict
from wrnexp.cli.publish import add_parser as add_publish
from wrnexp.cli.report import add_parser as add_report
from wrnexp.cli.sweeps import add_parser as add_sweeps
from wrnexp.errors import UserError
from wrnexp.process.terminal import printable, warn


class _Parser(argparse.ArgumentParser):
    """Shows what it does not know, a file name of a shell's pattern for instance, without control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 on success, 2 on a user's mistake, 1 where the command itself failed."""
    args = _parsed(arguments)
    try:
        return int(args.run(args))
    except UserError as error:
        warn(f"error: {error}")
        return 2
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command; overrides may stand before, between and after its options."""
    parser = _parser()
    args, left = parser.parse_known_args(arguments)
    if left and ("overrides" not in args or any(word.startswith("-") for word in left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if left:
        args.overrides = [*args.overrides, *left]
    return args


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="wrnexp", description="Everything around runs; runs themselves: run.py."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    around = (add_report, add_sweeps, add_plan, add_ablate, add_evaluate, add_predict, add_export, add_publish)
    for add in (*around, add_data, add_bench, add_doctor):
        add(commands)
    return parser
