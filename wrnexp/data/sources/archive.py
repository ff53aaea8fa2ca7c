"""The official CIFAR archive, packed or extracted."""

import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wrnexp.data.content import SIDE, SPLITS, Content, Split, SplitName, join
from wrnexp.data.messages import reason
from wrnexp.data.sources.unpickle import unpickle
from wrnexp.errors import UserError


@dataclass(frozen=True)
class Layout:
    """An archive `file` that contains `folder`; `label_key` is the key of the labels in each pickle of `batches`."""

    file: str
    folder: str
    batches: Mapping[SplitName, tuple[str, ...]]
    label_key: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all pickles, train first."""
        return tuple(name for split in SPLITS for name in self.batches[split])


@dataclass(frozen=True)
class PackedArchive:
    """The archive as one .tar.gz, read in one pass without extracting it to disk."""

    path: Path
    layout: Layout
    classes: tuple[str, ...]

    def state(self) -> Iterator[str]:
        """Yield name, size and modification time of the file."""
        yield _file_state(self.path)

    def read(self) -> Content:
        """Read both splits.

        Raises:
            UserError: the archive is damaged, cut short, or a different one.
        """
        try:
            blobs = dict(self._members())
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            raise UserError(
                f"{self.path} is damaged or cut short ({reason(error)}); remove it and fetch {self.layout.file} again"
            ) from error
        return _content(blobs, self.layout, self.classes, f"{self.path}: {self.layout.folder}")

    def _members(self) -> Iterator[tuple[str, bytes]]:
        names = {f"{self.layout.folder}/{name}": name for name in self.layout.names}
        with tarfile.open(self.path) as tar:
            for member in tar:
                name = names.get(member.name.removeprefix("./"))
                file = tar.extractfile(member) if name and member.isfile() else None
                if name and file:
                    yield name, file.read()


@dataclass(frozen=True)
class ExtractedArchive:
    """The folder extracted from the archive."""

    path: Path
    layout: Layout
    classes: tuple[str, ...]

    def state(self) -> Iterator[str]:
        """Yield name, size and modification time of each file."""
        yield from (_file_state(path) for path in self._files())

    def read(self) -> Content:
        """Read both splits.

        Raises:
            UserError: a file is missing or damaged.
        """
        blobs = {path.name: path.read_bytes() for path in self._files()}
        return _content(blobs, self.layout, self.classes, str(self.path))

    def _files(self) -> Iterable[Path]:
        return [path for name in self.layout.names if (path := self.path / name).is_file()]


def _file_state(path: Path) -> str:
    stat = path.stat()
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"


def _content(blobs: Mapping[str, bytes], layout: Layout, classes: tuple[str, ...], where: str) -> Content:
    if missing := [name for name in layout.names if name not in blobs]:
        raise UserError(f"{where} lacks {', '.join(missing)}; {layout.file} holds {', '.join(layout.names)}")
    train, test = (
        join([_batch(blobs[name], layout.label_key, len(classes), f"{where}/{name}") for name in layout.batches[split]])
        for split in SPLITS
    )
    return Content(classes, train, test)


def _batch(blob: bytes, label_key: str, classes: int, where: str) -> Split:
    batch = unpickle(blob, where)
    if not _is_batch(batch, label_key, classes):
        raise UserError(
            f"{where} is not a CIFAR batch: expected images, uint8 [N, {SIDE * SIDE * 3}], in 'data' and as many "
            f"labels below {classes} in {label_key!r}"
        )
    images = batch["data"].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Split(images, np.array(batch[label_key], dtype=np.int64))


def _is_batch(batch: Any, label_key: str, classes: int) -> bool:
    if not isinstance(batch, dict):
        return False
    data, labels = batch.get("data"), batch.get(label_key)
    return (
        isinstance(data, np.ndarray)
        and isinstance(labels, list)
        and data.shape == (len(labels), 3 * SIDE * SIDE)
        and all(isinstance(label, int) and 0 <= label < classes for label in labels)
    )
