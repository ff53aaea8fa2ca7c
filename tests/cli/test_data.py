import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wrnexp.cli.data import add_parser
from wrnexp.data.canonical import content_digest, image_hashes
from wrnexp.data.content import Split, SplitName
from wrnexp.data.sources.cifar import CIFAR10, CIFARS
from wrnexp.errors import UserError


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["data", *map(str, arguments)])
    return int(args.run(args))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes, four images each to train on and two to test on, one of them in both splits."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    images[8] = images[0]
    for number, image in enumerate(images):
        file = tmp_path / "pictures" / ("train" if number < 8 else "test") / "ab"[number % 2] / f"{number}.bmp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return tmp_path / "pictures"


@pytest.fixture
def as_cifar10(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the pictures be CIFAR-10."""

    def digest(split: SplitName) -> str:
        files = sorted((pictures / split).glob("*/*.bmp"))
        labels = np.array(["ab".index(file.parent.name) for file in files])
        return content_digest(image_hashes(Split(np.stack([np.asarray(Image.open(file)) for file in files]), labels)))

    digests: dict[SplitName, str] = {"train": digest("train"), "test": digest("test")}
    spec = dataclasses.replace(CIFAR10, classes=("a", "b"), per_class={"train": 4, "test": 2}, digest=digests)
    monkeypatch.setitem(CIFARS, "cifar10", spec)
    return pictures


def test_what_is_imported_is_found_without_a_root(as_cifar10: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="CIFAR-10 is not in the cache; `wrnexp data import PATH --name cifar10`"):
        run("info", "--name", "cifar10")
    assert run("import", as_cifar10, "--name", "cifar10") == 0
    assert "cifar10: 8 train and 4 test images, digests as published, now in " in capsys.readouterr().out
    assert run("verify", "--name", "cifar10") == 0
    assert "every one as it should be" in capsys.readouterr().out


def test_import_refuses_what_is_not_cifar(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train has 2 classes, the data set has 100: missing 'apple', .* and 97 more"):
        run("import", pictures)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is empty"):
        run("import", tmp_path / "empty")


def test_info_says_all_there_is_to_say(pictures: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--name", "folder", "--root", pictures) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    labels = np.repeat([0, 1], 4)
    files = [pictures / "train" / "ab"[label] / f"{number}.bmp" for label in (0, 1) for number in range(label, 8, 2)]
    images = np.stack([np.asarray(Image.open(file)) for file in files])
    assert "images        8 train and 4 test images, 32x32 RGB" in lines
    assert "classes       2: a, b" in lines
    assert f"train digest  {content_digest(image_hashes(Split(images, labels)))}" in lines
    mean = (images.reshape(-1, 3) / 255).mean(axis=0)
    assert f"mean          {', '.join(f'{value:.6f}' for value in mean)}" in lines
    assert "in both       1 test images stand in train too, pixel for pixel" in lines


@pytest.mark.parametrize("command", ["import", "info"])
def test_a_damaged_copy_is_not_described(
    as_cifar10: Path, cache: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run("import", as_cifar10, "--name", "cifar10") == 0
    capsys.readouterr()
    (pixels,) = cache.glob("store/*/train.npy")
    pixels.write_bytes(pixels.read_bytes()[:-1] + b"\0")
    path = [as_cifar10] if command == "import" else []
    with pytest.raises(UserError, match=r"train\.npy is damaged: .*; remove"):
        run(command, *path, "--name", "cifar10")
    assert capsys.readouterr().out == ""


def test_verify_finds_a_damaged_copy(pictures: Path, cache: Path) -> None:
    assert run("verify", "--name", "folder", "--root", pictures) == 0
    (pixels,) = cache.glob("store/*/train.npy")
    damaged = bytearray(pixels.read_bytes())
    damaged[-1] ^= 1
    pixels.write_bytes(damaged)
    with pytest.raises(UserError, match=r"train\.npy is damaged: .*; remove"):
        run("verify", "--name", "folder", "--root", pictures)


def test_verify_finds_an_image_that_changed_unseen(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "wrnexp.data.sources.folder._entry_state", lambda entry: entry.name
    )  # a file system without times
    run("verify", "--name", "folder", "--root", pictures)
    (pictures / "test" / "a" / "10.bmp").write_bytes((pictures / "train" / "a" / "2.bmp").read_bytes())
    assert run("info", "--name", "folder", "--root", pictures) == 0
    with pytest.raises(UserError, match=r"pictures no longer holds what is stored; remove .*, then it is read anew"):
        run("verify", "--name", "folder", "--root", pictures)


def test_shapes_are_verified_by_drawing_them_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "--name", "shapes") == 0
    assert "shapes: 6,000 train and 2,400 test images, every one as it should be" in capsys.readouterr().out


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import argparse, sys\n"
        "from wrnexp.cli import data\n"
        "data.add_parser(argparse.ArgumentParser().add_subparsers())\n"
        "print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
