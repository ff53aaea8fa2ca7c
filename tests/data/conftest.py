"""Tiny CIFARs in every form of the real ones, and the real CIFAR-100 if it is next to the repository."""

import dataclasses
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wrnexp.augment import Augment, Jitter
from wrnexp.data import Dataset, ImageSet
from wrnexp.data.content import Content, Split
from wrnexp.data.sources.cifar import CIFAR10, CIFAR100, CIFARS, Cifar

CLASSES = ("cat", "dog", "fox")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test its own cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WRNEXP_CACHE", str(folder))
    return folder


def digest_by_contract(split: Split) -> str:
    """Return the content digest, implemented from the contract's text."""
    hashes = [
        hashlib.sha256(bytes([label]) + image.tobytes()).digest()
        for label, image in zip(split.labels, split.images, strict=True)
    ]
    return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()


@pytest.fixture(scope="session")
def contract_digest() -> Callable[[Split], str]:
    return digest_by_contract


def random_content(per_class: dict[str, int], seed: int = 0) -> Content:
    """Return random images with shuffled classes."""
    rng = np.random.default_rng(seed)
    splits = []
    for count in per_class.values():
        labels = rng.permutation(np.repeat(np.arange(len(CLASSES)), count))
        splits.append(Split(rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8), labels.astype(np.int64)))
    return Content(CLASSES, *splits)


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A tiny CIFAR: its specification, its content, and writers of its forms; each writer returns a data root."""

    spec: Cifar
    content: Content

    def extracted(self, dest: Path, pickled: Callable[[Any], bytes] = lambda value: pickle.dumps(value, 2)) -> Path:
        inner = dest / self.spec.layout.folder
        inner.mkdir(parents=True)
        for split in ("train", "test"):
            names = self.spec.layout.batches[split]
            images, labels = self.content.split(split).images, self.content.split(split).labels
            for number, name in enumerate(names):
                mine = slice(number, None, len(names))
                rows = images[mine].transpose(0, 3, 1, 2).reshape(-1, 3072)
                batch = {"batch_label": name, "data": rows, self.spec.layout.label_key: labels[mine].tolist()}
                (inner / name).write_bytes(pickled(batch))
        return dest

    def packed(self, dest: Path, **options: Any) -> Path:
        self.extracted(dest / "unpacked", **options)
        with tarfile.open(dest / self.spec.layout.file, "w:gz") as tar:
            tar.add(dest / "unpacked" / self.spec.layout.folder, arcname=self.spec.layout.folder)
        return dest / self.spec.layout.file

    def folder(self, dest: Path) -> Path:
        for split in ("train", "test"):
            part = self.content.split(split)
            for number, (image, label) in enumerate(zip(part.images, part.labels, strict=True)):
                file = dest / split / CLASSES[label] / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(file)
        return dest

    def parquet(self, dest: Path, *, plain: bool = False) -> Path:
        import pyarrow
        from pyarrow import parquet

        dest.mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            part = self.content.split(split)
            cells = [png(image) if plain else {"bytes": png(image), "path": None} for image in part.images]
            table = pyarrow.table({"img": cells, self.spec.label_column: part.labels})
            half = len(cells) // 2
            parquet.write_table(table.slice(0, half), dest / f"{split}-00000-of-00002.parquet")
            parquet.write_table(table.slice(half), dest / f"{split}-00001-of-00002.parquet")
        return dest


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=[CIFAR100, CIFAR10], ids=["cifar100", "cifar10"])
def tiny_cifar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Replace each real data set by a tiny one."""
    content = random_content({"train": 10, "test": 4})
    spec = dataclasses.replace(
        request.param,
        classes=CLASSES,
        superclasses=None,
        per_class={"train": 10, "test": 4},
        digest={"train": digest_by_contract(content.train), "test": digest_by_contract(content.test)},
        url="http://127.0.0.1:9/nothing-listens-here.tar.gz",
    )
    monkeypatch.setitem(CIFARS, spec.name, spec)
    return Tiny(spec, content)


@pytest.fixture
def write_parquet() -> Callable[[Content, Path], Path]:
    """A writer of CIFAR-100 as parquet files."""
    return lambda content, dest: Tiny(CIFAR100, content).parquet(dest)


@pytest.fixture
def python2() -> Callable[[Any], bytes]:
    """A pickler that writes the opcodes of Python 2, as the official files have them."""
    return lambda value: b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(key) + _python2(field) for key, field in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, str):
        return b"T" + struct.pack("<i", len(value)) + value.encode("latin1")
    kind = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    shape = b"(" + b"".join(_python2(side) for side in value.shape) + b"t"
    return empty + b"(K\x01" + shape + kind + b"\x89" + _python2(value.tobytes().decode("latin1")) + b"tb"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real CIFAR-100; tests that use it are skipped without it."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("WRNEXP_SHARED_DATA", default))
    if not (folder / "cifar100_unpack.py").exists():
        pytest.skip(f"the real CIFAR-100 is not in {folder}; WRNEXP_SHARED_DATA sets another folder")
    return folder


@pytest.fixture(scope="session")
def real_archive(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _unpack(shared_data, "archive", tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def real_folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _unpack(shared_data, "folder", tmp_path_factory.mktemp("folder"))


def _unpack(shared_data: Path, form: str, dest: Path) -> Path:
    subprocess.run([sys.executable, shared_data / "cifar100_unpack.py", form, dest], check=True)
    return dest


@pytest.fixture
def numbered(tmp_path: Path) -> Dataset:
    """45 training images with distinct labels, in another order than in the file."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8))
    images = ImageSet(tmp_path / "images.npy", rng.permutation(60)[:45], np.arange(45))
    return Dataset(
        name="numbered",
        classes=tuple(f"class {index}" for index in range(45)),
        superclasses=None,
        train=images,
        val=None,
        test=images.subset(np.arange(0, 45, 2)),
        digest={},
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.25),
        image_size=32,
    )


@pytest.fixture
def recipe() -> Augment:
    """The light recipe."""
    jitter = Jitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    return Augment(
        padding=4, padding_mode="constant", flip=0.5, policy="randaugment", num_ops=2, magnitude=9, jitter=jitter,
        erasing=0.2, cutout=0, mixup=0.0, cutmix=0.0,
    )  # fmt: skip
