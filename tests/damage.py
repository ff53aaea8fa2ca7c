"""Damage to a file as disks, copies and cables do it."""

from collections.abc import Iterator

import numpy as np

BLOCK = 4096


def flipped(data: bytes, count: int, seed: int, header: int = 0) -> Iterator[bytes]:
    """Yield copies with one bit flipped, at random places; every second one within the first `header` bytes."""
    chance = np.random.default_rng(seed)
    for number in range(count):
        end = min(header, len(data)) if header and number % 2 else len(data)
        changed = bytearray(data)
        changed[int(chance.integers(end))] ^= 1 << int(chance.integers(8))
        yield bytes(changed)


def broken(data: bytes, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield other kinds of damage with their names: blocks of zeros, garbage, ends that are missing."""
    chance = np.random.default_rng(seed)
    for start in chance.integers(max(1, len(data) - BLOCK), size=3).tolist():
        length = len(data[start : start + BLOCK])
        yield "zeros", data[:start] + bytes(length) + data[start + BLOCK :]
        yield "garbage", data[:start] + chance.bytes(length) + data[start + BLOCK :]
    yield "all zeros", bytes(len(data))
    yield "cut", data[: int(chance.integers(len(data)))]
    yield "one byte short", data[:-1]
    yield "one byte more", data + b"\0"
    yield "empty", b""
    yield "text", b"version https://git-lfs.github.com/spec/v1\n"
