"""Files that carry their digest: what is written is read, and any damage is noticed."""

import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wrnexp.engine.sealed import DamagedError, load_sealed, save_sealed


def state() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {"model": {"weight": torch.randn(40, 40, generator=generator)}, "rows": [{"epoch": 1}], "none": None}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    save_sealed(state(), tmp_path / "last.pt")
    return tmp_path / "last.pt"


def assert_equal(loaded: Any) -> None:
    assert torch.equal(loaded["model"]["weight"], state()["model"]["weight"])
    assert (loaded["rows"], loaded["none"]) == ([{"epoch": 1}], None)


def test_what_is_written_is_read_by_torch_too(sealed: Path) -> None:
    assert_equal(load_sealed(sealed))
    assert_equal(torch.load(sealed, weights_only=True))
    with zipfile.ZipFile(sealed) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"wrnexp sha256 ")


@pytest.mark.parametrize("flips", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_noticed(sealed: Path, flips: int) -> None:
    whole, places = sealed.read_bytes(), random.Random(flips)
    for _ in range(flips):
        place, bit = places.randrange(len(whole)), places.randrange(8)
        sealed.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        with pytest.raises(DamagedError):
            load_sealed(sealed)
    sealed.write_bytes(whole)
    assert_equal(load_sealed(sealed))


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: whole[:-80],
        lambda whole: whole + b"\0",
        lambda whole: whole[:3000] + b"\0" * 1024 + whole[4024:],
        lambda whole: random.Random(0).randbytes(4096),
        lambda whole: b"\x89PNG\r\n\x1a\n",
        lambda whole: pickled([1, 2]),
    ],
    ids=["empty", "half", "a byte less", "no digest", "a byte more", "zeros", "noise", "a picture", "an older format"],
)
def test_damage_is_noticed(sealed: Path, damage: Callable[[bytes], bytes]) -> None:
    sealed.write_bytes(damage(sealed.read_bytes()))
    with pytest.raises(DamagedError):
        load_sealed(sealed)


def test_a_folder_and_a_named_pipe_are_damage_and_an_absent_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "last.pt").mkdir()
    with pytest.raises(DamagedError, match="folder"):
        load_sealed(tmp_path / "last.pt")
    with pytest.raises(FileNotFoundError):
        load_sealed(tmp_path / "previous.pt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "previous.pt")  # opening it would wait for a writer
        with pytest.raises(DamagedError, match="named pipe"):
            load_sealed(tmp_path / "previous.pt")


def test_a_file_of_earlier_versions_is_read_and_its_checksums_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save(state(), path)
    assert_equal(load_sealed(path))
    whole = path.read_bytes()
    weight = whole.index(state()["model"]["weight"].numpy().tobytes())
    path.write_bytes(whole[: weight + 9] + bytes([whole[weight + 9] ^ 4]) + whole[weight + 10 :])
    torch.load(path, weights_only=True)  # torch itself does not notice
    with pytest.raises(DamagedError, match="checksum"):
        load_sealed(path)
