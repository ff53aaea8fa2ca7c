"""Parquet files of CIFAR as on dataset hubs: one row per encoded image, with its label."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wrnexp.data.content import SPLITS, Content, Split, SplitName, join
from wrnexp.data.messages import reason
from wrnexp.data.progress import tracked
from wrnexp.data.sources.decode import decode
from wrnexp.errors import UserError
from wrnexp.process.packages import require

IMAGE = "img"


@dataclass(frozen=True)
class ParquetFiles:
    """Parquet files in a folder and its subfolders; the file or subfolder name starts with the name of the split.

    The column `img` holds the encoded image, as bytes or as a struct with a field `bytes`; `label_column` is
    `fine_label` or `label`.
    """

    path: Path
    label_column: str
    classes: tuple[str, ...]

    def state(self) -> Iterator[str]:
        """Yield split, path, size and modification time of each file."""
        for split in SPLITS:
            for file in self._files(split):
                stat = file.stat()
                yield f"{split} {file} {stat.st_size} {stat.st_mtime_ns}"

    def read(self) -> Content:
        """Read both splits.

        Raises:
            UserError: pyarrow is not installed, a split has no file, or a file lacks a column.
        """
        train, test = (self._split(split) for split in SPLITS)
        return Content(self.classes, train, test)

    def _split(self, split: SplitName) -> Split:
        files = self._files(split)
        if not files:
            raise UserError(f"{self.path} has parquet files, but no file name starts with {split!r}")
        return join([self._read_file(file) for file in files])

    def _files(self, split: SplitName) -> list[Path]:
        return [
            file
            for file in parquet_files(self.path)
            if file.name.startswith(split) or (file.parent != self.path and file.parent.name.startswith(split))
        ]

    def _read_file(self, file: Path) -> Split:
        table = _read_table(file, [IMAGE, self.label_column])
        labels = table.column(self.label_column).to_pylist()
        count = len(self.classes)
        if invalid := [label for label in labels if not isinstance(label, int) or not 0 <= label < count]:
            raise UserError(f"{file} has the {self.label_column} {invalid[0]!r}; allowed are 0 to {count - 1}")
        cells = tracked(table.column(IMAGE).to_pylist(), f"reading {file.name}")
        images = np.stack([decode(_encoded(cell), f"{file}, row {row}") for row, cell in enumerate(cells)])
        return Split(images, np.array(labels, dtype=np.int64))


def parquet_files(folder: Path) -> list[Path]:
    """Return the parquet files in a folder and its subfolders, sorted by path."""
    return sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")])


def _encoded(cell: Any) -> io.BytesIO:
    """Return the bytes of a cell as a file; empty for an invalid cell, so that decoding reports it."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return io.BytesIO(data if isinstance(data, bytes) else b"")


def _read_table(file: Path, columns: list[str]) -> Any:
    require(str(file), "pyarrow", extra="parquet")
    from pyarrow import ArrowException, parquet

    try:
        present = parquet.read_schema(file).names
        if missing := [name for name in columns if name not in present]:
            raise UserError(f"{file} has no column {missing[0]!r}; it has {', '.join(present)}")
        return parquet.read_table(file, columns=columns, use_threads=False)
    except (ArrowException, OSError) as error:
        raise UserError(f"{file} is damaged or not a parquet file ({reason(error)})") from error
