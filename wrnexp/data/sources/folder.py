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
    """A folder `{train,test}/<class>/*`; the classes' names, sorted, give the labels.

    Attributes:
        path: the folder that holds `train` and `test`.
        expected: the classes that must be there, None for any two or more.
        resize: bring other sizes to 32x32.
    """

    path: Path
    expected: tuple[str, ...] | None = None
    resize: bool = False

    def state(self) -> Iterator[str]:
        """Yield what changes when an image does, of every file (0.2 s for 60,000 files)."""
        yield f"resize={self.resize}"
        for split in SPLITS:
            for folder in _entries(self.path / split):
                if folder.is_dir():
                    yield f"{split}/{folder.name}"
                    yield from (_entry_state(entry) for entry in _entries(Path(folder.path)))

    def read(self) -> Content:
        """Read both splits.

        Raises:
            UserError: classes or images are absent, or a file is no image of the right size.
        """
        classes = self._classes()
        return Content(classes, self._split("train", classes), self._split("test", classes))

    def _classes(self) -> tuple[str, ...]:
        train, test = (_class_names(self.path / split) for split in SPLITS)
        expected = self.expected or train
        _compare(self.path / "train", train, expected, "the data set")
        _compare(self.path / "test", test, expected, "the data set" if self.expected else "train")
        if len(expected) < 2:
            raise UserError(f"{self.path / 'train'} has {len(expected)} classes; at least 2 are needed, a folder each")
        return expected

    def _split(self, split: SplitName, classes: tuple[str, ...]) -> Split:
        files = [(label, file) for label, name in enumerate(classes) for file in _files(self.path / split / name)]
        shown = tracked(files, f"reading {split} images")
        images = np.stack([decode(Path(file), file, resize=self.resize) for _, file in shown])
        return Split(images, np.array([label for label, _ in files], dtype=np.int64))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the folder's entries by name, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _entry_state(entry: os.DirEntry[str]) -> str:
    stat = entry.stat()
    # Copies and archives set the time of writing, but neither that of the last change nor the inode. Two class folders
    # that swap their names differ in the inodes alone.
    return f"{entry.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(entry.name for entry in _entries(folder) if entry.is_dir())
    if wrong := [name for name in names if not is_printable(name)]:
        raise UserError(
            f"the class folder {visible(str(folder / wrong[0]))} has a name that is not printable UTF-8, and records "
            "name their classes: rename it"
        )
    return names


def _files(folder: Path) -> list[str]:
    entries = _entries(folder)
    if not entries:
        raise UserError(f"{folder} holds no images")
    if nested := [entry.path for entry in entries if not entry.is_file()]:
        raise UserError(f"{nested[0]} is no file; the folder of a class holds its images and nothing else")
    return [entry.path for entry in entries]


def _compare(folder: Path, found: tuple[str, ...], expected: tuple[str, ...], owner: str) -> None:
    """Refuse a split whose classes are not the expected ones."""
    counts = f"{folder} has {len(found)} classes, {owner} has {len(expected)}"
    if missing := sorted(set(expected) - set(found)):
        raise UserError(f"{counts}: missing {_some(missing)}")
    if unknown := sorted(set(found) - set(expected)):
        raise UserError(f"{counts}: unknown {_some(unknown)}")


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
