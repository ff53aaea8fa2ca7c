"""Random numbers by key: every consumer derives its own seed from (seed, what, when), none shares a stream."""

import hashlib

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]  # random numbers in [0, 1)

WORDS_A_BLOCK = 4  # of Philox4x64


def derive(seed: int, *key: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and `key` alone.

    The same arguments give the same number on every machine and in every process, so what is drawn for one image or one
    epoch does not depend on what was drawn before it.

    Args:
        seed: the run's seed.
        key: what the numbers are for, for instance `("shuffle", epoch)` or `("augment", epoch, index)`.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join([str(seed), *map(str, key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def uniforms(seed: int, first: int, count: int, width: int) -> Numbers:
    """Return `width` random numbers for each of the positions `first` to `first + count - 1` of one stream.

    What a position gets depends on the seed, the position and the width alone, not on which positions are asked for
    together: the counter of Philox4x64-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011) is set
    to the position. The raw words of numpy's bit generators are fixed for good.

    Args:
        seed: of the stream, for instance from `derive`.
        first: the first position, 0 or more.
        count: positions, 0 or more.
        width: numbers a position.

    Returns:
        float64 [count, width] in [0, 1), multiples of 2**-53.
    """
    blocks = -(-width // WORDS_A_BLOCK)
    generator = np.random.Philox(key=seed).advance(first * blocks)
    words = generator.random_raw(count * blocks * WORDS_A_BLOCK).reshape(count, blocks * WORDS_A_BLOCK)[:, :width]
    return np.asarray((words >> np.uint64(11)) * 2.0**-53)


def below(numbers: Numbers, count: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn random numbers in [0, 1) into whole numbers below `count`, evenly."""
    return (numbers * count).astype(np.int64)
