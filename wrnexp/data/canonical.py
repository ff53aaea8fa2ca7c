"""Canonical order and content digest of a split: equal for equal images, whatever the source."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from wrnexp.data.content import Split


def image_hashes(split: Split) -> NDArray[np.uint8]:
    """Return the SHA-256 of every image, uint8 [N, 32].

    Hashed are the label as one byte, then the 3,072 bytes of the image, row by row, RGB interleaved. In a split with
    more than 256 classes labels are two bytes, big-endian.
    """
    width = 1 if split.labels.max(initial=0) < 256 else 2
    hashes = (
        hashlib.sha256(label.to_bytes(width, "big") + image.tobytes()).digest()
        for label, image in zip(split.labels.tolist(), split.images, strict=True)
    )
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(-1, 32)


def content_digest(hashes: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of all image hashes, sorted and concatenated, in hexadecimal."""
    return hashlib.sha256(hashes[np.lexsort(_sort_keys(hashes))].tobytes()).hexdigest()


def canonical_order(labels: NDArray[np.int64], hashes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the positions that sort a split by label, then by image hash, int64 [N]."""
    return np.lexsort((*_sort_keys(hashes), labels)).astype(np.int64)


def count_duplicates(train: NDArray[np.uint8], test: NDArray[np.uint8]) -> int:
    """Return the number of test images [M, H, W, 3] that also occur in train [N, H, W, 3], pixel for pixel."""
    train_hashes = {hashlib.sha256(image.tobytes()).digest() for image in train}
    return sum(hashlib.sha256(image.tobytes()).digest() in train_hashes for image in test)


def _sort_keys(hashes: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], ...]:
    """Return four integer keys that sort as the bytes do; the last is the most significant, as `lexsort` expects."""
    words = np.ascontiguousarray(hashes).view(">u8")
    return tuple(words[:, column] for column in (3, 2, 1, 0))
