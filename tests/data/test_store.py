import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.damage import broken, flipped
from wrnexp.data import store
from wrnexp.data.content import SPLITS, Content, Split
from wrnexp.data.statistics import channel_statistics
from wrnexp.errors import UserError
from wrnexp.runs.digests import file_digest


def some_content(seed: int = 0) -> Content:
    rng = np.random.default_rng(seed)
    train, test = (
        Split(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 2, count)) for count in (40, 20)
    )
    return Content(("left", "right"), train, test)


@dataclass
class Counted:
    """A source that counts its reads."""

    path: Path
    content: Content = field(default_factory=some_content)
    version: str = "1"
    reads: int = 0
    seconds: float = 0.0

    def state(self) -> Iterator[str]:
        yield self.version

    def read(self) -> Content:
        self.reads += 1
        time.sleep(self.seconds)
        return self.content


def accept(content: Content, digest: store.Digest, where: str) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def stored_folders(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "store").iterdir())


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_file_modes_follow_the_umask(source: Counted, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = store.obtain("own", source, accept).folder
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~mask
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o666 & ~mask}


def test_a_source_is_read_once(source: Counted) -> None:
    first, second = (store.obtain("own", source, accept) for _ in range(2))
    assert source.reads == 1
    assert first == second
    assert (first.images("train").gather(np.arange(40)) == second.images("train").gather(np.arange(40))).all()


def test_what_is_stored_is_the_content_in_canonical_order(source: Counted) -> None:
    stored = store.obtain("own", source, accept)
    content, digest = store.canonical(source.content)
    assert stored.digest == digest
    assert stored.classes == ("left", "right")
    for split in SPLITS:
        images = stored.images(split)
        assert (images.gather(np.arange(len(images))) == content.split(split).images).all()
        assert (images.labels == content.split(split).labels).all()
        assert images.labels.dtype == images.indices.dtype == np.int64


def test_statistics_are_the_train_splits(source: Counted) -> None:
    stored = store.obtain("own", source, accept)
    pixels = source.content.train.images.reshape(-1, 3) / 255
    assert stored.mean == pytest.approx(pixels.mean(axis=0), abs=1e-12)
    assert stored.std == pytest.approx(pixels.std(axis=0), abs=1e-12)
    assert (stored.mean, stored.std) == channel_statistics(source.content.train.images[::-1])


def test_a_changed_source_is_read_again(source: Counted, cache: Path) -> None:
    before = store.obtain("own", source, accept)
    source.version, source.content = "2", some_content(seed=1)
    after = store.obtain("own", source, accept)
    assert source.reads == 2
    assert before.digest != after.digest
    assert len(stored_folders(cache)) == 2


def test_sources_of_one_content_share_one_store(source: Counted, tmp_path: Path, cache: Path) -> None:
    other = Counted(tmp_path / "elsewhere")
    assert store.obtain("own", source, accept) == store.obtain("own", other, accept)
    assert (source.reads, other.reads) == (1, 1)
    assert len(stored_folders(cache)) == 1


def test_it_is_found_by_content_too(source: Counted) -> None:
    stored = store.obtain("own", source, accept)
    assert store.find("own", stored.classes, stored.digest) == stored
    assert store.find("own", ("other", "names"), stored.digest) is None
    assert store.find("own", stored.classes, {**stored.digest, "test": "0" * 64}) is None


def test_what_fails_its_check_is_not_stored(source: Counted, cache: Path) -> None:
    def refuse(content: Content, digest: store.Digest, where: str) -> None:
        raise UserError(f"{where} is wrong")

    for _ in range(2):
        with pytest.raises(UserError, match="is wrong"):
            store.obtain("own", source, refuse)
    assert source.reads == 2
    assert not (cache / "store").exists()


def test_of_many_that_start_at_once_one_reads(source: Counted, cache: Path) -> None:
    source.seconds = 0.2
    start = threading.Barrier(4)

    def obtain(_: int) -> store.Stored:
        start.wait()
        return store.obtain("own", source, accept)

    with ThreadPoolExecutor(4) as threads:
        stored = list(threads.map(obtain, range(4)))
    assert source.reads == 1
    assert all(data_set == stored[0] for data_set in stored)
    assert len(stored_folders(cache)) == 1


def test_different_sources_of_one_content_at_once(tmp_path: Path, cache: Path) -> None:
    sources = [Counted(tmp_path / str(number), seconds=0.05) for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        stored = list(threads.map(lambda source: store.obtain("own", source, accept), sources))
    assert all(data_set == stored[0] for data_set in stored)
    assert stored_folders(cache) == [stored[0].folder.name]


def test_a_kill_while_writing_leaves_nothing(source: Counted, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "channel_statistics", killed)
        with pytest.raises(KeyboardInterrupt):
            store.obtain("own", source, accept)
    assert stored_folders(cache) == []
    assert store.obtain("own", source, accept).images("test")[0].shape == (32, 32, 3)


def cut_pixels(folder: Path) -> None:
    file = folder / "train.npy"
    file.write_bytes(file.read_bytes()[:-1])


def cut_meta(folder: Path) -> None:
    (folder / "meta.json").write_text('{"classes": [')


def drop_labels(folder: Path) -> None:
    (folder / "test_labels.npy").unlink()


def change_meta(**fields: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        raw = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps(raw | fields))

    return change


def replace_meta(content: bytes) -> Callable[[Path], None]:
    return lambda folder: bool((folder / "meta.json").write_bytes(content))  # type: ignore[return-value]


DAMAGE = {
    "pixels cut": cut_pixels,
    "meta cut": cut_meta,
    "no labels": drop_labels,
    "another mean": change_meta(mean=[0.5, 0.5, 0.5]),
    "another std": change_meta(std=[1, 1, 1]),
    "other classes": change_meta(classes=["right", "left"]),
    "another digest": change_meta(digest={"train": "0" * 64, "test": "0" * 64}),
    "another seal": change_meta(seal="0" * 64),
    "no digests": change_meta(sha256={}),
    "deep": replace_meta(b"[" * 100_000),
    "a list": replace_meta(b"[]"),
    "no UTF-8": replace_meta(b"\xff"),
    "zeros": replace_meta(bytes(100)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_store_that_cannot_be_opened_is_rebuilt(
    source: Counted, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stored = store.obtain("own", source, accept)
    assert capsys.readouterr().err == ""
    damage(stored.folder)
    again = store.obtain("own", source, accept)
    assert source.reads == 2
    assert capsys.readouterr().err == f"{stored.folder} is damaged: rebuilding it\n"
    assert again == stored
    again.verify()


def read(source: Counted) -> list[bytes]:
    """Return what a run would load: names, statistics, labels and pixels."""
    stored = store.obtain("own", source, accept)
    sets = [stored.images(split) for split in SPLITS]
    arrays = [array for images in sets for array in (images.labels, images.gather(images.indices))]
    return [repr((stored.classes, stored.digest, stored.mean, stored.std)).encode(), *(a.tobytes() for a in arrays)]


def noticed(source: Counted, damage: Iterable[tuple[Path, bytes]]) -> tuple[int, list[str]]:
    """Count the damaged files that are refused or rebuilt; return the error messages of the refused ones."""
    expected, count, problems = read(source), 0, []
    for path, data in damage:
        whole, reads = path.read_bytes(), source.reads
        path.write_bytes(data)
        try:
            count += read(source) == expected and source.reads > reads
        except UserError as error:
            problems.append(str(error))
            count += path.name in str(error)
        path.write_bytes(whole)
    return count, problems


def flips(folder: Path, count: int, seed: int) -> Iterator[tuple[Path, bytes]]:
    """Yield files of a stored folder, in turn, each with one bit flipped."""
    files = sorted(folder.iterdir())
    for number, path in enumerate(files):
        share = count // len(files) + (number < count % len(files))
        yield from ((path, data) for data in flipped(path.read_bytes(), share, seed + number, header=128))


def test_a_damaged_store_is_noticed(source: Counted) -> None:
    folder = store.obtain("own", source, accept).folder
    count, problems = noticed(source, flips(folder, 25, seed=0))
    assert count == 25
    damages = [(path, data) for path in sorted(folder.iterdir()) for _, data in broken(path.read_bytes(), seed=1)]
    meta = folder / "meta.json"
    damages.remove((meta, meta.read_bytes()[:-1]))  # all but the end of the last line
    count, more = noticed(source, damages)
    assert count == len(damages)
    for problem in {*problems, *more}:
        assert "\n" not in problem
        assert problem.endswith(f"; remove {folder}: the same command restores it, from data.root or by download")


@pytest.mark.slow
def test_of_250_flipped_bits_in_a_store_all_are_noticed(source: Counted) -> None:
    count, _ = noticed(source, flips(store.obtain("own", source, accept).folder, 250, seed=2))
    print(f"data store: {count} of 250 flipped bits noticed")
    assert count == 250


def as_of_an_earlier_version(folder: Path, **fields: Any) -> bytes:
    raw = json.loads((folder / "meta.json").read_text())
    del raw["sha256"], raw["seal"]
    (folder / "meta.json").write_text(json.dumps(raw | fields))
    return (folder / "meta.json").read_bytes()


def test_a_store_of_an_earlier_version_is_checked_once(source: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.obtain("own", source, accept)
    written = (stored.folder / "meta.json").read_bytes()
    as_of_an_earlier_version(stored.folder)
    assert store.obtain("own", source, accept) == stored
    assert (stored.folder / "meta.json").read_bytes() == written
    monkeypatch.setattr(store.Stored, "verify", None)  # not called again
    assert store.find("own", stored.classes, stored.digest) == stored
    assert source.reads == 1


@pytest.mark.parametrize("name", ["train.npy", "test.npy", "train_labels.npy", "test_labels.npy"])
def test_damage_to_a_store_of_an_earlier_version_is_noticed(source: Counted, name: str) -> None:
    folder = store.obtain("own", source, accept).folder
    before, data = as_of_an_earlier_version(folder), (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])
    with pytest.raises(UserError, match=r"is damaged; remove"):
        store.obtain("own", source, accept)
    assert (folder / "meta.json").read_bytes() == before


@pytest.mark.parametrize("key", ["mean", "std"])
def test_other_statistics_in_a_store_of_an_earlier_version_are_noticed(source: Counted, key: str) -> None:
    folder = store.obtain("own", source, accept).folder
    as_of_an_earlier_version(folder, **{key: [0.5, 0.5, 0.5]})
    with pytest.raises(UserError, match=r"meta\.json is damaged: .*; remove"):
        store.obtain("own", source, accept)


def test_a_store_of_an_earlier_version_that_cannot_be_written_is_used(
    source: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store.obtain("own", source, accept)
    before = as_of_an_earlier_version(stored.folder)

    def refuse(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(store, "write_json", refuse)
    assert store.obtain("own", source, accept) == stored
    assert (stored.folder / "meta.json").read_bytes() == before


def test_a_damaged_source_file_is_rewritten(source: Counted, cache: Path) -> None:
    store.obtain("own", source, accept)
    (source_file,) = (cache / "sources").iterdir()
    source_file.write_text("{}")
    store.obtain("own", source, accept)
    assert json.loads(source_file.read_text())["source"] == str(source.path)


def test_verify_finds_one_changed_byte(source: Counted) -> None:
    stored = store.obtain("own", source, accept)
    stored.verify()
    with (stored.folder / "test.npy").open("r+b") as file:
        file.seek(-7, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(UserError, match=r"test\.npy is damaged: its content is not what was stored; remove"):
        stored.verify()


def test_verify_finds_another_order(source: Counted) -> None:
    stored = store.obtain("own", source, accept)
    for name in ("train.npy", "train_labels.npy"):
        np.save(stored.folder / name, np.load(stored.folder / name)[::-1])
    digests = {name: file_digest(stored.folder / name) for name in stored.sha256}
    with pytest.raises(UserError, match="the stored train split is damaged; remove"):
        replace(stored, sha256=digests).verify()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written(source: Counted, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match=r"cannot be written .*; WRNEXP_CACHE sets another one"):
        store.obtain("own", source, accept)


def test_a_cache_in_the_place_of_a_file(source: Counted, cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(UserError, match=r"cannot be written .*; WRNEXP_CACHE sets another one"):
        store.obtain("own", source, accept)
