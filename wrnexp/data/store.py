"""The compact store: each data set once, as plain arrays in the cache folder, looked up by content or by source.

    <cache>/store/<name>-<key>/   images and labels of both splits (.npy), meta.json
    <cache>/sources/<key>.json    the stored data set of a source in its present state
    <cache>/locks/                one process writes, concurrent ones wait

A stored folder is written under a temporary name and renamed, so that readers see all of it or nothing. meta.json holds
the SHA-256 of each array and a seal, its own SHA-256. Seal and labels are verified when a stored data set is opened,
images in the background (`wrnexp.data.checks`). Folders written before there were digests are verified once against
their content digests.
"""

import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from wrnexp.data import checks
from wrnexp.data.canonical import canonical_order, content_digest, image_hashes
from wrnexp.data.content import SPLITS, Content, Split, SplitName
from wrnexp.data.images import ImageSet
from wrnexp.data.messages import reason
from wrnexp.data.sources.detect import Source
from wrnexp.data.statistics import Triple, channel_statistics
from wrnexp.errors import UserError
from wrnexp.process.terminal import warn
from wrnexp.runs.cache import cache_folder
from wrnexp.runs.digests import bytes_digest, file_digest
from wrnexp.runs.files import read_regular
from wrnexp.runs.record import write_json
from wrnexp.runs.strict_json import loads

ARRAYS = tuple(f"{split}{kind}.npy" for split in SPLITS for kind in ("", "_labels"))
FORMAT = 1  # increment when older stored folders become unusable

Digest = Mapping[SplitName, str]
Check = Callable[[Content, Digest, str], None]
"""Raises UserError if content and digest, read from the named source, are not those of the data set."""


@dataclass(frozen=True)
class Stored:
    """A data set in the store.

    Attributes:
        classes: in the order of the labels.
        digest: content digest of each split.
        mean: of the train split's channels, in 0..1.
        std: of the train split's channels, in 0..1.
        sha256: of each file, in hexadecimal, by name.
    """

    folder: Path
    classes: tuple[str, ...]
    digest: Digest
    mean: Triple
    std: Triple
    sha256: Mapping[str, str]

    def images(self, split: SplitName) -> ImageSet:
        """Return a whole split, in canonical order.

        Raises:
            UserError: the labels are damaged. Damaged images raise when they are read.
        """
        path, labels = self.folder / f"{split}.npy", self._labels(split)
        check = checks.start(path, self.sha256[path.name])
        return ImageSet(path, np.arange(len(labels), dtype=np.int64), labels, check)

    def _labels(self, split: SplitName) -> NDArray[np.int64]:
        path = self.folder / f"{split}_labels.npy"
        try:
            data = read_regular(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {checks.repair(self.folder)}") from error
        if bytes_digest(data) != self.sha256[path.name]:
            raise UserError(checks.damage(path))
        labels: NDArray[np.int64] = np.load(io.BytesIO(data))
        return labels

    def check(self) -> None:
        """Compare all files with their digests; raise UserError if one is damaged."""
        for split in SPLITS:
            self.images(split).verify()

    def verify(self) -> None:
        """Compare all images with their content digests and canonical order; raise UserError if they differ."""
        for split in SPLITS:
            images = self.images(split)
            hashes = image_hashes(Split(images.gather(images.indices), images.labels))
            in_order = bool((canonical_order(images.labels, hashes) == images.indices).all())
            if content_digest(hashes) != self.digest[split] or not in_order:
                raise UserError(f"the stored {split} split is damaged; {checks.repair(self.folder)}")


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock of this name between processes.

    Raises:
        UserError: the cache folder cannot be written.
    """
    folder = cache_folder() / "locks"
    with _writing():
        folder.mkdir(parents=True, exist_ok=True)
        file_lock = FileLock(folder / f"{name}.lock")
        file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()


def find(name: str, classes: tuple[str, ...], digest: Digest) -> Stored | None:
    """Return the stored data set of this content, or None."""
    return _with_digests(_open(_folder(name, classes, digest)))


def obtain(name: str, source: Source, check: Check) -> Stored:
    """Return the stored form of a source; the source is read only if it is new or changed.

    Raises:
        UserError: the source cannot be read, fails `check`, or the cache folder cannot be written.
    """
    source_file = cache_folder() / "sources" / f"{_source_key(name, source)}.json"
    if stored := _find_by_source(source_file):
        return stored
    with lock(source_file.stem):  # another process may have stored it meanwhile
        return _find_by_source(source_file) or _import(name, source, check, source_file)


def canonical(content: Content) -> tuple[Content, Digest]:
    """Return the content in canonical order, and the digest of each split."""
    splits: dict[SplitName, Split] = {}
    digest: dict[SplitName, str] = {}
    for name in SPLITS:
        split = content.split(name)
        hashes = image_hashes(split)
        order = canonical_order(split.labels, hashes)
        splits[name], digest[name] = Split(split.images[order], split.labels[order]), content_digest(hashes)
    return Content(content.classes, **splits), digest


def _import(name: str, source: Source, check: Check, source_file: Path) -> Stored:
    content, digest = canonical(source.read())
    check(content, digest, str(source.path))
    stored = _add(_folder(name, content.classes, digest), content, digest)
    with _writing():
        write_json(source_file, {"source": str(source.path), "store": stored.folder.name})
    return stored


def _source_key(name: str, source: Source) -> str:
    """Return a hash of the source's path and present state."""
    lines = (f"{FORMAT}", name, type(source).__name__, str(source.path.resolve()), *source.state())
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:32]


def _find_by_source(source_file: Path) -> Stored | None:
    try:
        folder = cache_folder() / "store" / loads(read_regular(source_file))["store"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _with_digests(_open(folder))


def _folder(name: str, classes: tuple[str, ...], digest: Digest) -> Path:
    return cache_folder() / "store" / f"{name}-{_content_key(classes, digest)}"


def _content_key(classes: tuple[str, ...], digest: Digest) -> str:
    text = json.dumps([FORMAT, classes, digest["train"], digest["test"]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _open(folder: Path) -> Stored | None:
    """Read meta.json of a stored folder; the arrays are not verified.

    Returns:
        None if the folder is missing, meta.json is damaged or a file has another size. `sha256` is empty if an earlier
        version wrote the folder.
    """
    try:
        meta = loads(read_regular(folder / "meta.json"))
        classes, digest = tuple(meta["classes"]), meta["digest"]
        if any((folder / name).stat().st_size != size for name, size in meta["files"].items()):
            return None
        name_matches = folder.name.endswith(f"-{_content_key(classes, digest)}")
        if meta.get("seal", _seal(meta)) != _seal(meta) or not name_matches:
            return None
        digests = meta["sha256"] if "seal" in meta else {}
        return Stored(folder, classes, digest, tuple(meta["mean"]), tuple(meta["std"]), digests)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _with_digests(stored: Stored | None) -> Stored | None:
    """Return a stored data set with the digests of its files.

    A folder of an earlier version has none: verify its content, then add them.
    """
    if stored is None or stored.sha256:
        return stored
    warn(f"{stored.folder} was stored by an earlier version: all images are checked once")
    checked = replace(stored, sha256={name: file_digest(stored.folder / name) for name in ARRAYS})
    checked.verify()
    images = checked.images("train")
    if (stored.mean, stored.std) != channel_statistics(images.gather(images.indices)):
        raise UserError(checks.damage(stored.folder / "meta.json"))
    with suppress(UserError), lock(stored.folder.name), _writing():  # the cache may be read-only
        _write_meta(checked)
    return checked


def _add(folder: Path, content: Content, digest: Digest) -> Stored:
    """Write a stored folder, unless another process has written it."""
    with lock(folder.name):
        if _open(folder) is None:
            with _writing():
                _publish(folder, content, digest)
    stored = _with_digests(_open(folder))
    assert stored is not None, f"{folder} was just written"
    return stored


def _publish(folder: Path, content: Content, digest: Digest) -> None:
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        _write(temporary, content, digest)
        if folder.exists():
            warn(f"{folder} is damaged: rebuilding it")
            shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, content: Content, digest: Digest) -> None:
    for name in SPLITS:
        split = content.split(name)
        np.save(folder / f"{name}.npy", split.images)
        np.save(folder / f"{name}_labels.npy", split.labels)
    mean, std = channel_statistics(content.train.images)
    digests = {name: file_digest(folder / name) for name in ARRAYS}
    _write_meta(Stored(folder, content.classes, digest, mean, std, digests))


def _write_meta(stored: Stored) -> None:
    meta = {
        "classes": stored.classes,
        "digest": stored.digest,
        "mean": stored.mean,
        "std": stored.std,
        "files": {name: (stored.folder / name).stat().st_size for name in ARRAYS},
        "sha256": stored.sha256,
    }
    write_json(stored.folder / "meta.json", meta | {"seal": _seal(meta)})


def _seal(meta: Mapping[str, Any]) -> str:
    """Return the SHA-256 of meta.json without the seal itself."""
    return bytes_digest(json.dumps({key: meta[key] for key in meta if key != "seal"}, sort_keys=True).encode())


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the cache folder {cache_folder()} cannot be written ({reason(error)}); WRNEXP_CACHE sets another one"
        ) from error
