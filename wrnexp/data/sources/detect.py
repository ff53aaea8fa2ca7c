"""Detection of the source at a data root."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from wrnexp.data.content import SPLITS, Content
from wrnexp.data.sources.archive import ExtractedArchive, PackedArchive
from wrnexp.data.sources.cifar import Cifar
from wrnexp.data.sources.folder import ImageFolder
from wrnexp.data.sources.parquet import ParquetFiles, parquet_files
from wrnexp.errors import UserError


class Source(Protocol):
    """The interface of a data source."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    def state(self) -> Iterable[str]:
        """Yield lines that change whenever the content may have changed; cheap."""

    def read(self) -> Content:
        """Read both splits, in any order."""


def find_folder(root: str | None, *, resize: bool) -> ImageFolder:
    """Return the image folder at `root`.

    Raises:
        UserError: `root` is None, does not exist, or has no folder `train` or `test`.
    """
    if root is None:
        raise UserError("data.root is needed for data=folder: a folder with {train,test}/<class>/<image files>")
    path = existing(root, "a folder with {train,test}/<class>/<image files>")
    if missing := [split for split in SPLITS if not (path / split).is_dir()]:
        raise UserError(f"data.root={root} has no folder {missing[0]!r}; expected {{train,test}}/<class>/<image files>")
    return ImageFolder(path, resize=resize)


def find_cifar(cifar: Cifar, root: str) -> Source | None:
    """Return the source of a CIFAR data set at `root`; None if the folder is empty.

    Raises:
        UserError: `root` does not exist or is not a source of the data set.
    """
    path = existing(root, _may_be(cifar))
    source = _file(cifar, path) if path.is_file() else _archive(cifar, path) or _images(cifar, path)
    if source is None and not _is_empty(path):
        raise UserError(f"data.root={root} does not contain {cifar.title}; it may be {_may_be(cifar)}")
    return source


def existing(root: str, may_be: str) -> Path:
    """Return `root` as a path; raise UserError, with the description `may_be`, if it does not exist."""
    path = Path(root).expanduser()
    if not path.exists():
        raise UserError(f"data.root={root} does not exist; it may be {may_be}")
    return path


def _file(cifar: Cifar, path: Path) -> Source | None:
    is_archive = path.name.endswith((".tar.gz", ".tgz", ".tar"))
    return PackedArchive(path, cifar.layout, cifar.classes) if is_archive else None


def _archive(cifar: Cifar, folder: Path) -> Source | None:
    layout = cifar.layout
    for inner in (folder, folder / layout.folder):
        if any((inner / name).is_file() for name in layout.names):
            return ExtractedArchive(inner, layout, cifar.classes)
    packed = folder / layout.file
    return PackedArchive(packed, layout, cifar.classes) if packed.is_file() else None


def _images(cifar: Cifar, folder: Path) -> Source | None:
    if all((folder / split).is_dir() for split in SPLITS) and not any(folder.glob("train/*.parquet")):
        return ImageFolder(folder, cifar.classes)
    return ParquetFiles(folder, cifar.label_column, cifar.classes) if parquet_files(folder) else None


def _is_empty(path: Path) -> bool:
    """True if the folder is empty except for the files of an unfinished download."""
    return path.is_dir() and all(child.name.startswith(".") or child.suffix == ".part" for child in path.iterdir())


def _may_be(cifar: Cifar) -> str:
    return (
        f"{cifar.layout.file}, the folder {cifar.layout.folder} extracted from it, a folder with either, an image "
        f"folder {{train,test}}/<class>/*.png, a folder of parquet files (columns img, {cifar.label_column}), or an "
        "empty folder to download into"
    )
