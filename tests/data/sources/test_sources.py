import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wrnexp.augment.batched import normalise
from wrnexp.data import load
from wrnexp.data.content import Content
from wrnexp.data.datasets import find_source, obtain
from wrnexp.errors import UserError


def contents(name: str, root: Path) -> tuple[list[Any], ...]:
    """Return what a run would load, as plain values."""
    data = load(name, str(root), 0, None, None, False)
    pixels = [part.gather(np.arange(len(part))).tolist() for part in (data.train, data.test)]
    return [*pixels[0], *data.train.labels.tolist()], [*pixels[1], *data.test.labels.tolist()], [*data.digest.values()]


def test_every_form_gives_the_same_data_set(
    tiny_cifar: Any, tmp_path: Path, python2: Callable[[Any], bytes], contract_digest: Callable[[Any], str]
) -> None:
    inner = tiny_cifar.spec.layout.folder
    packed = tiny_cifar.packed(tmp_path / "packed")
    roots = [
        packed,
        packed.parent,
        tiny_cifar.extracted(tmp_path / "extracted"),
        tmp_path / "extracted" / inner,
        tiny_cifar.extracted(tmp_path / "python2", python2),
        tiny_cifar.folder(tmp_path / "folder"),
        tiny_cifar.parquet(tmp_path / "hub" / "data"),
        tmp_path / "hub",
        tiny_cifar.parquet(tmp_path / "plain", plain=True),
    ]
    loaded = [contents(tiny_cifar.spec.name, root) for root in roots]
    assert all(content == loaded[0] for content in loaded[1:])
    assert loaded[0][2] == [contract_digest(tiny_cifar.content.train), contract_digest(tiny_cifar.content.test)]


def test_images_are_sorted_by_label_and_keep_their_labels(tiny_cifar: Any, tmp_path: Path) -> None:
    data = load(tiny_cifar.spec.name, str(tiny_cifar.extracted(tmp_path / "a")), 0, None, None, False)
    label_of = {
        image.tobytes(): label
        for image, label in zip(tiny_cifar.content.train.images, tiny_cifar.content.train.labels, strict=True)
    }
    assert data.train.labels.tolist() == sorted(label_of.values())
    assert [label_of[data.train[index].tobytes()] for index in range(30)] == data.train.labels.tolist()


def error(name: str, root: Path | str | None, *, resize: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        obtain(name, None if root is None else str(root), resize=resize)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    message = error("cifar100", tmp_path / "nowhere")
    assert f"data.root={tmp_path}/nowhere does not exist; it may be cifar-100-python.tar.gz" in message
    assert "does not exist" in error("folder", tmp_path / "nowhere")
    assert "data.root is needed for data=folder" in error("folder", None)


def test_a_root_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "does not contain CIFAR-100; it may be" in error("cifar100", tmp_path)
    assert "does not contain CIFAR-100; it may be" in error("cifar100", tmp_path / "notes.txt")
    assert "has no folder 'train'" in error("folder", tmp_path)


def test_an_unknown_name() -> None:
    assert error("imagenet", None) == ("data.name=imagenet is unknown: allowed are cifar10, cifar100, shapes, folder")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.2, 0.5, 0.9])
def test_a_truncated_archive(tiny_cifar: Any, tmp_path: Path, share: float) -> None:
    packed = tiny_cifar.packed(tmp_path / "a")
    data = packed.read_bytes()
    packed.write_bytes(data[: int(len(data) * share)])
    assert f"{packed} is damaged or cut short" in error(tiny_cifar.spec.name, packed)


def test_an_archive_of_another_data_set(tiny_cifar: Any, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as tar:
        tar.add(__file__, arcname="readme")
    assert f"lacks {tiny_cifar.spec.layout.names[0]}" in error(tiny_cifar.spec.name, tmp_path / "other.tar.gz")


def test_an_extracted_archive_without_its_test_split(tiny_cifar: Any, tmp_path: Path) -> None:
    root = tiny_cifar.extracted(tmp_path / "a")
    name = tiny_cifar.spec.layout.batches["test"][0]
    (root / tiny_cifar.spec.layout.folder / name).unlink()
    assert f"{tiny_cifar.spec.layout.folder} lacks {name}" in error(tiny_cifar.spec.name, root)


def test_a_batch_whose_labels_do_not_fit(tiny_cifar: Any, tmp_path: Path) -> None:
    part = tiny_cifar.content.train
    part.labels[0] = 7
    root = tiny_cifar.extracted(tmp_path / "a")
    assert "is not a CIFAR batch" in error(tiny_cifar.spec.name, root)


def test_a_missing_image(tiny_cifar: Any, tmp_path: Path) -> None:
    root = tiny_cifar.folder(tmp_path / "a")
    next((root / "train" / "dog").iterdir()).unlink()
    message = error(tiny_cifar.spec.name, root)
    assert f"{root}: train has 29 images, {tiny_cifar.spec.title} has 30: class 'dog' has 9 of 10" in message


def test_a_changed_pixel(tiny_cifar: Any, tmp_path: Path) -> None:
    tiny_cifar.content.test.images[0, 0, 0, 0] ^= 1
    message = error(tiny_cifar.spec.name, tiny_cifar.extracted(tmp_path / "a"))
    assert f"the test images or labels are not those of {tiny_cifar.spec.title}" in message
    assert tiny_cifar.spec.digest["test"] in message


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_class_is_named(tiny_cifar: Any, tmp_path: Path, split: str) -> None:
    root = tiny_cifar.folder(tmp_path / "a")
    (root / split / "dog").rename(tmp_path / "dog")
    assert f"{root / split} has 2 classes, the data set has 3: missing 'dog'" in error(tiny_cifar.spec.name, root)


def test_parquet_without_pyarrow(tiny_cifar: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tiny_cifar.parquet(tmp_path / "a")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "pyarrow, not installed here: pip install -c constraints.txt -e '.[parquet]'" in error(
        tiny_cifar.spec.name, root
    )


def test_parquet_with_other_columns(tiny_cifar: Any, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"image": [b""], "target": [0]}), tmp_path / "train.parquet")
    message = error(tiny_cifar.spec.name, tmp_path)
    assert "train.parquet has no column 'img'; it has image, target" in message


def test_parquet_without_a_test_split(tiny_cifar: Any, tmp_path: Path) -> None:
    root = tiny_cifar.parquet(tmp_path / "a")
    for file in root.glob("test*"):
        file.unlink()
    assert "no file name starts with 'test'" in error(tiny_cifar.spec.name, root)


def test_a_damaged_parquet_file(tiny_cifar: Any, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    assert "train.parquet is damaged or not a parquet file" in error(tiny_cifar.spec.name, tmp_path)


def paint(file: Path, mode: str = "RGB", size: tuple[int, int] = (32, 32), **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    colours: dict[str, float | tuple[float, ...]] = {
        "RGB": (10, 20, 30),
        "RGBA": (10, 20, 30, 128),
        "L": 77,
        "LA": (77, 5),
        "P": 3,
        "1": 1,
    }
    Image.new(mode, size, colours.get(mode, 5)).save(file, **options)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two classes with one image each in each split."""
    root = tmp_path / "images"
    for split in ("train", "test"):
        paint(root / split / "nut" / "a.png")
        paint(root / split / "bolt" / "b.png", size=(32, 32), mode="L")
    return root


def read(root: Path, *, resize: bool = False) -> Content:
    source = find_source("folder", str(root), resize=resize)
    assert source is not None
    return source.read()


def test_a_folder_of_any_classes(image_folder: Path) -> None:
    data = load("folder", str(image_folder), 0, None, None, False)
    assert data.classes == ("bolt", "nut")
    assert data.superclasses is None
    assert data.train[0].tolist() == np.full((32, 32, 3), 77).tolist()
    assert data.train[1][5, 5].tolist() == [10, 20, 30]
    assert data.mean == pytest.approx((87 / 510, 97 / 510, 107 / 510))
    assert data.std == pytest.approx((67 / 510, 57 / 510, 47 / 510))


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [("L", "x.png", [77] * 3), ("LA", "x.png", [77] * 3), ("RGBA", "x.png", [10, 20, 30]), ("1", "x.png", [255] * 3),
     ("RGB", "x.bmp", [10, 20, 30]), ("RGB", "x.ppm", [10, 20, 30])],
)  # fmt: skip
def test_other_kinds_of_images_become_rgb(image_folder: Path, mode: str, name: str, expected: list[int]) -> None:
    paint(image_folder / "train" / "aaa" / name, mode)
    paint(image_folder / "test" / "aaa" / name, mode)
    assert read(image_folder).train.images[0, 0, 0].tolist() == expected


def test_a_palette_with_transparency(image_folder: Path) -> None:
    for split in ("train", "test"):
        image = Image.new("P", (32, 32), 1)
        image.putpalette([0, 0, 0, 9, 8, 7])
        (image_folder / split / "aaa").mkdir()
        image.save(image_folder / split / "aaa" / "x.png", transparency=bytes([0, 255]))
    assert read(image_folder).train.images[0, 3, 3].tolist() == [9, 8, 7]


def test_other_sizes_only_with_resize(image_folder: Path) -> None:
    paint(image_folder / "train" / "nut" / "big.png", size=(64, 40))
    assert "big.png is 64x40, not 32x32; data.resize=true" in error("folder", image_folder)
    images = read(image_folder, resize=True).train.images
    assert images.shape == (3, 32, 32, 3)
    assert images[2, 9, 9].tolist() == [10, 20, 30]
    assert (obtain("folder", str(image_folder), resize=True).images("train").labels == [0, 1, 1]).all()


def test_resizing_is_bilinear(image_folder: Path) -> None:
    large = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(large).save(image_folder / "train" / "bolt" / "a.png")
    blended = large.astype(float)
    for axis in (0, 1):  # at half the size a triangle filter weighs four neighbours 1 : 3 : 3 : 1
        blended = np.moveaxis(blended, axis, 0)
        blended = (blended[1:-3:2] + 3 * blended[2:-2:2] + 3 * blended[3:-1:2] + blended[4::2]) / 8
        blended = np.moveaxis(blended, 0, axis)
    shrunk = read(image_folder, resize=True).train.images[0, 1:-1, 1:-1]
    assert np.abs(shrunk - blended).max() <= 1


def test_an_unreadable_image_is_named(image_folder: Path) -> None:
    (image_folder / "test" / "nut" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert f"{image_folder}/test/nut/bad.png cannot be read as an image" in error("folder", image_folder)


def test_sixteen_bits_are_refused_not_clipped(image_folder: Path) -> None:
    paint(image_folder / "test" / "nut" / "deep.png", "I;16")
    assert "deep.png has more than 8 bits per channel" in error("folder", image_folder)


def test_both_splits_need_the_same_classes(image_folder: Path) -> None:
    paint(image_folder / "train" / "screw" / "a.png")
    assert f"{image_folder}/test has 2 classes, train has 3: missing 'screw'" in error("folder", image_folder)
    (image_folder / "train" / "screw").rename(image_folder / "test" / "screw")
    assert f"{image_folder}/test has 3 classes, train has 2: unknown 'screw'" in error("folder", image_folder)


def test_one_class_is_not_enough(image_folder: Path) -> None:
    for split in ("train", "test"):
        (image_folder / split / "nut").rename(image_folder / split / ".nut")
    assert "train has 1 classes; at least 2 are needed" in error("folder", image_folder)


def test_a_class_folder_holds_images_only(image_folder: Path) -> None:
    (image_folder / "test" / "nut" / "more").mkdir()
    assert "test/nut/more is not a file" in error("folder", image_folder)
    (image_folder / "test" / "nut" / "more").rename(image_folder / "test" / "empty")
    (image_folder / "train" / "empty").mkdir()
    assert "train/empty contains no images" in error("folder", image_folder)


@pytest.mark.parametrize(
    ("name", "visible"), [(b"caf\xe9", r"caf\xe9"), (b"a\nb", r"a\nb"), ("a\u202eb".encode(), r"a\u202eb")]
)
def test_a_class_whose_name_cannot_be_written_is_named(image_folder: Path, name: bytes, visible: str) -> None:
    (image_folder / "train" / os.fsdecode(name)).mkdir()
    assert f"the class folder {image_folder}/train/{visible} has a name that is not printable UTF-8" in error(
        "folder", image_folder
    )


def test_an_image_may_have_any_name(image_folder: Path) -> None:
    images = len(read(image_folder).train.labels)
    paint(image_folder / "train" / "nut" / os.fsdecode(b"caf\xe9.png"))
    data = load("folder", str(image_folder), 0, None, None, False)
    assert len(data.train.labels) == images + 1


def bitmap(file: Path, level: int) -> None:
    """Write an image of one colour; all such files have the same size and mtime, as if unpacked from an archive."""
    Image.new("RGB", (32, 32), (level, 0, 9)).save(file)
    os.utime(file, ns=(10**18, 10**18))


@pytest.mark.parametrize("change", ["replaced", "linked elsewhere", "classes swapped"])
def test_other_images_of_the_same_size_and_time_are_noticed(image_folder: Path, change: str) -> None:
    nut, bolt = image_folder / "train" / "nut", image_folder / "train" / "bolt"
    for folder, level in ((nut, 1), (bolt, 2), (image_folder, 3), (image_folder, 4)):
        (folder / "a.png").unlink(missing_ok=True)
        bitmap(folder / ("a.bmp" if level < 4 else "b.bmp"), level)
    (nut / "b.bmp").symlink_to(image_folder / "a.bmp")
    before = load("folder", str(image_folder), 0, None, None, False).digest
    if change == "replaced":
        bitmap(nut / "a.bmp", 5)
    elif change == "linked elsewhere":
        (nut / "b.bmp").unlink()
        (nut / "b.bmp").symlink_to(image_folder / "b.bmp")
    else:
        (nut / "b.bmp").unlink()
        (bolt / "b.png").unlink()
        before = load("folder", str(image_folder), 0, None, None, False).digest
        nut.rename(image_folder / "aside")
        bolt.rename(nut)
        (image_folder / "aside").rename(bolt)
    after = load("folder", str(image_folder), 0, None, None, False).digest
    assert (after["train"] != before["train"], after["test"] == before["test"]) == (True, True)


def test_a_constant_channel_is_zero_and_not_divided_by_zero(image_folder: Path) -> None:
    for name, level in (("nut", 1), ("bolt", 2)):
        bitmap(image_folder / "train" / name / "a.png", level)
    (image_folder / "train" / "bolt" / "b.png").unlink()
    data = load("folder", str(image_folder), 0, None, None, False)
    assert data.std[1:] == (1.0, 1.0)
    normalised = normalise(
        torch.from_numpy(data.train.gather(data.train.indices)).permute(0, 3, 1, 2), data.mean, data.std
    )
    assert normalised[:, 0].std() > 0
    assert not normalised[:, 1:].any()


def test_hidden_files_are_ignored(image_folder: Path) -> None:
    (image_folder / "train" / ".DS_Store").write_text("x")
    (image_folder / "train" / "nut" / ".DS_Store").write_text("x")
    assert len(read(image_folder).train.labels) == 2
