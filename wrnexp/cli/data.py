"""`wrnexp data`: bring a data set into the cache, check it, describe it."""

import argparse
from typing import TYPE_CHECKING

from wrnexp.process.terminal import Terminal, printable, safe_text

if TYPE_CHECKING:
    from wrnexp.data.store import Stored

NAMES = ("cifar100", "cifar10", "shapes", "folder")
IMPORTED = ("cifar100", "cifar10")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser("data", help="import, verify and describe data sets", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_import(commands)
    verify = commands.add_parser("verify", help="hash every image again", description=verify_data.__doc__)
    _add_place(verify)
    verify.set_defaults(run=verify_data)
    info = commands.add_parser("info", help="sizes, classes, digests, statistics", description=describe_data.__doc__)
    _add_place(info)
    info.set_defaults(run=describe_data)


def _add_import(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("import", help="bring CIFAR into the cache", description=import_data.__doc__)
    parser.add_argument("path", metavar="PATH", help="the official archive, packed or extracted, an image folder "
                        "{train,test}/<class>/*.png, or a folder of parquet files")  # fmt: skip
    parser.add_argument(
        "--name", choices=IMPORTED, default="cifar100", help="which data set it is (default: %(default)s)"
    )
    parser.set_defaults(run=import_data)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", choices=NAMES, default="cifar100", help="data set (default: %(default)s)")
    parser.add_argument("--root", help="where its files are, as data.root (default: the cache)")
    parser.add_argument("--resize", action="store_true", help="bring a folder's images to 32x32, as data.resize=true")


def import_data(args: argparse.Namespace) -> int:
    """Check a copy of CIFAR and bring it into the cache, where runs with data.root=null find it without a network."""
    from wrnexp.data.datasets import find_source, obtain
    from wrnexp.errors import UserError

    if find_source(args.name, args.path) is None:
        raise UserError(f"{args.path} is empty")
    stored = obtain(args.name, args.path)
    stored.check()  # it may have been there before
    print(f"{args.name}: {_sizes(stored)}, digests as published, now in {printable(str(stored.folder))}")
    return 0


def verify_data(args: argparse.Namespace) -> int:
    """Hash every image again: of the files at --root, where it is given, and of the stored copy that runs read."""
    from wrnexp.data.datasets import find_source, obtain
    from wrnexp.data.store import canonical
    from wrnexp.errors import UserError

    stored = obtain(args.name, args.root, resize=args.resize, online=False)
    stored.verify()
    source = find_source(args.name, args.root, resize=args.resize)
    if source and canonical(source.read())[1] != stored.digest:
        raise UserError(f"{source.path} no longer holds what is stored; remove {stored.folder}, then it is read anew")
    print(f"{args.name}: {_sizes(stored)}, every one as it should be, in {printable(str(stored.folder))}")
    return 0


def describe_data(args: argparse.Namespace) -> int:
    """Print a data set's sizes, classes, digests, channel statistics, place, and the images that both splits hold."""
    from rich.table import Table

    from wrnexp.data.datasets import obtain

    stored = obtain(args.name, args.root, resize=args.resize, online=False)
    table = Table.grid(padding=(0, 2))  # a digest fits beside its label in 80 columns
    for label, value in _rows(args.name, stored):
        table.add_row(label, safe_text(value))
    Terminal().print(table)
    return 0


def _rows(name: str, stored: "Stored") -> list[tuple[str, str]]:
    return [
        ("data set", name),
        ("images", f"{_sizes(stored)}, 32x32 RGB"),
        ("classes", f"{len(stored.classes)}: {', '.join(stored.classes)}"),
        *((f"{split} digest", digest) for split, digest in stored.digest.items()),
        ("mean", ", ".join(f"{value:.6f}" for value in stored.mean)),
        ("std", ", ".join(f"{value:.6f}" for value in stored.std)),
        ("in both", f"{_shared(stored)} test images stand in train too, pixel for pixel"),
        ("stored in", str(stored.folder)),
    ]


def _shared(stored: "Stored") -> int:
    from wrnexp.data.canonical import count_duplicates

    train, test = stored.images("train"), stored.images("test")
    return count_duplicates(train.gather(train.indices), test.gather(test.indices))


def _sizes(stored: "Stored") -> str:
    return f"{len(stored.images('train')):,} train and {len(stored.images('test')):,} test images"
