"""Random numbers by key: every consumer derives its own seed from (seed, what, when), none shares a stream."""

import hashlib


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
