"""Image folders: `{train,test}/<class>/<image files>`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wrnexp.config.text import is_printable, visible
from wrnexp.data.content import SPLITS, Content, Split, SplitName
from wrnexp.data.progress import tracked
from wrnexp.data.sources.decode import decode
from wrnexp.errors import UserError


@dataclass(frozen=True)
class ImageFolder:
    """A folder `{train,test}/<class>/*`; labels are positions in the sorted class names.

    Attributes:
        path: the folder that contains `train` and `test`.
        expected: the required classes; None for any two or more.
        resize: resize images of other sizes to 32x32.
    """

    path: Path
    expected: tuple[str, ...] | None = None
    resize: bool = False

    def state(self) -> Iterator[str]:
        """Yield the state of every file (0.2 s for 60,000 files)."""
        yield f"resize={self.resize}"
        for split in SPLITS:
            for folder in _entries(self.path / split):
                if folder.is_dir():
                    yield f"{split}/{folder.name}"
                    yield from (_entry_state(entry) for entry in _entries(Path(folder.path)))

    def read(self) -> Content:
        """Read both splits.

        Raises:
            UserError: classes or images are missing, or a file is not an image of the right size.
        """
        classes = self._classes()
        return Content(classes, self._split("train", classes), self._split("test", classes))

    def _classes(self) -> tuple[str, ...]:
        train, test = (_class_names(self.path / split) for split in SPLITS)
        expected = self.expected or train
        _check_classes(self.path / "train", train, expected, "the data set")
        _check_classes(self.path / "test", test, expected, "the data set" if self.expected else "train")
        if len(expected) < 2:
            raise UserError(
                f"{self.path / 'train'} has {len(expected)} classes; at least 2 are needed, one folder per class"
            )
        return expected

    def _split(self, split: SplitName, classes: tuple[str, ...]) -> Split:
        files = [(label, file) for label, name in enumerate(classes) for file in _files(self.path / split / name)]
        progress = tracked(files, f"reading {split} images")
        images = np.stack([decode(Path(file), file, resize=self.resize) for _, file in progress])
        return Split(images, np.array([label for label, _ in files], dtype=np.int64))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder sorted by name, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _entry_state(entry: os.DirEntry[str]) -> str:
    stat = entry.stat()
    # Copying and unpacking can restore mtime, but not ctime and inode. If two class folders swap their names, only the
    # inodes change.
    return f"{entry.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(entry.name for entry in _entries(folder) if entry.is_dir())
    if unprintable := [name for name in names if not is_printable(name)]:
        path = visible(str(folder / unprintable[0]))
        raise UserError(
            f"the class folder {path} has a name that is not printable UTF-8, and records name their classes: rename it"
        )
    return names


def _files(folder: Path) -> list[str]:
    entries = _entries(folder)
    if not entries:
        raise UserError(f"{folder} contains no images")
    if nested := [entry.path for entry in entries if not entry.is_file()]:
        raise UserError(f"{nested[0]} is not a file; the folder of a class must contain only its images")
    return [entry.path for entry in entries]


def _check_classes(folder: Path, classes: tuple[str, ...], expected: tuple[str, ...], reference: str) -> None:
    counts = f"{folder} has {len(classes)} classes, {reference} has {len(expected)}"
    if missing := sorted(set(expected) - set(classes)):
        raise UserError(f"{counts}: missing {_first_names(missing)}")
    if unknown := sorted(set(classes) - set(expected)):
        raise UserError(f"{counts}: unknown {_first_names(unknown)}")


def _first_names(names: list[str]) -> str:
    first = ", ".join(repr(name) for name in names[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"
