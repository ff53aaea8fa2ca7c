"""The compact store: every data set once, as plain arrays in the cache folder, found again by content or by source.

    <cache>/store/<name>-<key>/   images and labels of both splits (.npy), meta.json
    <cache>/sources/<mark>.json   which stored data set a source gave, as long as the source is unchanged
    <cache>/locks/                so that of processes that start at once one makes the store and the others wait

A stored folder is written beside and renamed: a reader sees it whole or not at all.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from wrnexp.caches import cache_folder
from wrnexp.data.canonical import canonical_order, content_digest, image_hashes
from wrnexp.data.content import SPLITS, Content, Split, SplitName
from wrnexp.data.images import ImageSet
from wrnexp.data.sources import Source
from wrnexp.data.statistics import Triple, channel_statistics
from wrnexp.data.wording import reason
from wrnexp.errors import UserError
from wrnexp.records import write_json

FORMAT = 1  # raise it where stored folders of before cannot be used

Digest = Mapping[SplitName, str]
Check = Callable[[Content, Digest, str], None]
"""Raises UserError where the content, its digest, read from the place named, are not as they should be."""


@dataclass(frozen=True)
class Stored:
    """A data set in the store.

    Attributes:
        folder: where it lies.
        classes: in the order of the labels.
        digest: content digest of each split.
        mean: of the train split's channels, in 0..1.
        std: likewise.
    """

    folder: Path
    classes: tuple[str, ...]
    digest: Digest
    mean: Triple
    std: Triple

    def images(self, split: SplitName) -> ImageSet:
        """Return a whole split, in canonical order."""
        labels = np.load(self.folder / f"{split}_labels.npy")
        return ImageSet(self.folder / f"{split}.npy", np.arange(len(labels), dtype=np.int64), labels)

    def verify(self) -> None:
        """Hash all images again.

        Raises:
            UserError: they are not what was stored, or not in canonical order.
        """
        for split in SPLITS:
            images = self.images(split)
            hashes = image_hashes(Split(images.gather(images.indices), images.labels))
            in_order = bool((canonical_order(images.labels, hashes) == images.indices).all())
            if content_digest(hashes) != self.digest[split] or not in_order:
                raise UserError(f"the stored {split} split is damaged; remove {self.folder}, then it is made anew")


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock that one process at a time can have.

    Raises:
        UserError: the cache folder cannot be written.
    """
    folder = cache_folder() / "locks"
    with _writing():
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f"{name}.lock")
        held.acquire()
    try:
        yield
    finally:
        held.release()


def find(name: str, classes: tuple[str, ...], digest: Digest) -> Stored | None:
    """Return the stored data set of this content, None where there is none."""
    return _open(_folder(name, classes, digest))


def obtain(name: str, source: Source, check: Check) -> Stored:
    """Return the stored form of what `source` holds, reading the source only if it is new or changed.

    Raises:
        UserError: the source cannot be read, fails `check`, or the cache folder cannot be written.
    """
    note = cache_folder() / "sources" / f"{_mark(name, source)}.json"
    known = _recall(note)
    if known:
        return known
    with lock(note.stem):
        return _recall(note) or _read_in(name, source, check, note)


def canonical(content: Content) -> tuple[Content, Digest]:
    """Return the content in canonical order, and its digests."""
    train, train_digest = _canonical(content.train)
    test, test_digest = _canonical(content.test)
    return Content(content.classes, train, test), {"train": train_digest, "test": test_digest}


def _canonical(split: Split) -> tuple[Split, str]:
    hashes = image_hashes(split)
    order = canonical_order(split.labels, hashes)
    return Split(split.images[order], split.labels[order]), content_digest(hashes)


def _read_in(name: str, source: Source, check: Check, note: Path) -> Stored:
    content, digest = canonical(source.read())
    check(content, digest, str(source.path))
    stored = _add(_folder(name, content.classes, digest), content, digest)
    with _writing():
        write_json(note, {"source": str(source.path), "store": stored.folder.name})
    return stored


def _mark(name: str, source: Source) -> str:
    """Return a key of the source as it is now: where it lies and what changes when it does."""
    lines = (f"{FORMAT}", name, type(source).__name__, str(source.path.resolve()), *source.state())
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:32]


def _recall(note: Path) -> Stored | None:
    try:
        return _open(cache_folder() / "store" / json.loads(note.read_text())["store"])
    except (OSError, ValueError, KeyError):
        return None


def _folder(name: str, classes: tuple[str, ...], digest: Digest) -> Path:
    text = json.dumps([FORMAT, classes, digest["train"], digest["test"]])
    return cache_folder() / "store" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _open(folder: Path) -> Stored | None:
    """Return what lies in a stored folder; None where it is absent or a file is not of its full size."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if any((folder / name).stat().st_size != size for name, size in meta["files"].items()):
            return None
        return Stored(folder, tuple(meta["classes"]), meta["digest"], tuple(meta["mean"]), tuple(meta["std"]))
    except (OSError, ValueError, KeyError):
        return None


def _add(folder: Path, content: Content, digest: Digest) -> Stored:
    """Write a stored folder, unless another process has."""
    with lock(folder.name):
        if _open(folder) is None:
            with _writing():
                _publish(folder, content, digest)
    stored = _open(folder)
    assert stored is not None, f"{folder} was written just now"
    return stored


def _publish(folder: Path, content: Content, digest: Digest) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _write(beside, content, digest)
        beside.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(folder: Path, content: Content, digest: Digest) -> None:
    for name in SPLITS:
        split = content.split(name)
        np.save(folder / f"{name}.npy", split.images)
        np.save(folder / f"{name}_labels.npy", split.labels)
    mean, std = channel_statistics(content.train.images)
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    meta = {"classes": content.classes, "digest": digest, "mean": mean, "std": std, "files": files}
    write_json(folder / "meta.json", meta)


@contextmanager
def _writing() -> Iterator[None]:
    """Turn a failure to write into one clear message."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the cache folder {cache_folder()} cannot be written ({reason(error)}); WRNEXP_CACHE names another"
        ) from error
