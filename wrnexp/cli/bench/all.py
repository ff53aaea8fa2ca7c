"""`wrnexp bench all`: step (light and base), augment, loader and memory, one after the other.

With `--quick` they are sized for a minute on a GPU, compilation apart. A benchmark that fails does not stop the others.
"""

import argparse
from collections.abc import Iterator

from wrnexp.cli.bench import Figure, positive
from wrnexp.cli.bench import add_parser as add_bench
from wrnexp.cli.bench.pace import add_quick
from wrnexp.cli.bench.training import NETS
from wrnexp.errors import UserError
from wrnexp.process.terminal import warn


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("all", help="step, augment, loader and memory in turn", description=__doc__)
    parser.add_argument("--model", choices=sorted(NETS), action="append", help="of step (default: light and base)")
    parser.add_argument("--batch", type=positive, help="images in a batch (default: of each benchmark its own)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    add_quick(parser)
    return parser


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Yield the figures of each benchmark.

    Raises:
        ExceptionGroup: some failed, after the others have run.
    """
    errors: list[Exception] = []
    for command in commands(args):
        parser = argparse.ArgumentParser()
        add_bench(parser.add_subparsers())
        part = parser.parse_args(["bench", *command])
        try:
            yield from part.measure(part)
        except UserError:  # a device that is not there, for instance, is there for no other one either
            raise
        except Exception as error:
            warn(f"bench {' '.join(command)} failed: {error}")
            errors.append(error)
    if errors:
        raise ExceptionGroup("benchmarks failed", errors)


def commands(args: argparse.Namespace) -> list[list[str]]:
    """Return the command lines of the benchmarks, as after `wrnexp bench`."""
    nets = args.model or ["light", "base"]
    common = ["--device", args.device, *(["--batch", str(args.batch)] if args.batch else [])]
    common += ["--quick"] if args.quick else []
    parts = [*(["step", "--model", net] for net in nets), ["augment"], ["loader"], ["memory", "--model", nets[0]]]
    return [[*part, *common] for part in parts]
