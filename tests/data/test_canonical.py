from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wrnexp.data.canonical import canonical_order, content_digest, count_duplicates, image_hashes
from wrnexp.data.content import Split


def some_split(seed: int, images: int = 20, classes: int = 4) -> Split:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    return Split(pixels, rng.integers(0, classes, images))


def test_the_digest_is_the_contracts(contract_digest: Callable[[Split], str]) -> None:
    split = some_split(0, images=300)
    assert content_digest(image_hashes(split)) == contract_digest(split)


def test_order_is_by_label_then_by_hash() -> None:
    split = some_split(1, images=300)
    hashes = image_hashes(split)
    keys = [(int(label), digest.tobytes()) for label, digest in zip(split.labels, hashes, strict=True)]
    assert canonical_order(split.labels, hashes).tolist() == sorted(range(300), key=keys.__getitem__)


def test_hashes_that_end_in_zeros_differ() -> None:
    hashes = np.zeros((3, 32), dtype=np.uint8)
    hashes[0, 31], hashes[1, 30] = 1, 1
    assert canonical_order(np.zeros(3, dtype=np.int64), hashes).tolist() == [2, 0, 1]


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(20)))
def test_neither_digest_nor_order_depends_on_the_source(order: list[int]) -> None:
    split = some_split(2)
    mixed = Split(split.images[order], split.labels[order])
    hashes, mixed_hashes = image_hashes(split), image_hashes(mixed)
    assert content_digest(hashes) == content_digest(mixed_hashes)
    sorted_images = split.images[canonical_order(split.labels, hashes)]
    assert (mixed.images[canonical_order(mixed.labels, mixed_hashes)] == sorted_images).all()


def test_a_label_or_a_pixel_changes_the_digest() -> None:
    split = some_split(3)
    relabelled, repainted = split.labels.copy(), split.images.copy()
    relabelled[5] += 1
    repainted[5, 0, 0, 0] ^= 1
    digests = {
        content_digest(image_hashes(changed))
        for changed in (split, Split(split.images, relabelled), Split(repainted, split.labels))
    }
    assert len(digests) == 3


def test_more_classes_than_a_byte_holds() -> None:
    split = some_split(4, images=2)
    first, second = image_hashes(Split(np.stack([split.images[0]] * 2), np.array([1, 257])))
    assert first.tobytes() != second.tobytes()


def test_duplicates_are_counted_by_pixels_alone() -> None:
    train, test = some_split(5).images, some_split(6).images.copy()
    test[[3, 4]] = train[[7, 7]]
    assert count_duplicates(train, test) == 2
    assert count_duplicates(train, some_split(7).images) == 0
