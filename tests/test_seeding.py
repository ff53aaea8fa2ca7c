import itertools
import os
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wrnexp.seeding import derive, uniforms

KEYS = st.lists(st.one_of(st.integers(), st.text(alphabet="abcxyz", max_size=5)), max_size=3).map(tuple)


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), KEYS)
def test_a_seed_is_in_range_and_always_the_same(seed: int, key: tuple[str | int, ...]) -> None:
    assert 0 <= derive(seed, *key) < 2**63
    assert derive(seed, *key) == derive(seed, *key)


def test_known_values_hold_for_all_time() -> None:
    assert derive(0) == 4761921975702974394
    assert derive(0, "shuffle", 3) == 7105302989939984796
    assert derive(7, "augment", 2, 49_999) == 4309035452135347843


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = "from wrnexp.seeding import derive, uniforms; print(derive(5, 'augment', 1, 2))"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert int(printed.stdout) == derive(5, "augment", 1, 2)


def test_no_two_keys_share_a_seed() -> None:
    keys = list(itertools.product(range(5), ("shuffle", "augment", "dropout"), range(10), range(50)))
    assert len({derive(*key) for key in keys}) == len(keys)
    assert derive(1, 2, 34) != derive(1, 23, 4) != derive(12, 3, 4)


def test_neighbouring_keys_differ_in_half_of_the_bits() -> None:
    flips = [(derive(0, "x", i) ^ derive(0, "x", i + 1)).bit_count() for i in range(2000)]
    assert abs(sum(flips) / len(flips) - 31.5) < 5 * (63 / 4 / len(flips)) ** 0.5


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9), st.integers(0, 39))
def test_a_position_gets_the_same_numbers_whatever_is_asked_for_with_it(
    seed: int, first: int, count: int, width: int, skip: int
) -> None:
    whole = uniforms(seed, first, count, width)
    assert whole.shape == (count, width)
    assert ((whole >= 0) & (whole < 1)).all()
    skip = min(skip, count - 1)
    np.testing.assert_array_equal(uniforms(seed, first + skip, count - skip, width), whole[skip:])


def test_known_uniforms_hold_for_all_time() -> None:
    words = np.random.Philox(key=7).random_raw(8)
    expected = [[int(word) >> 11 for word in words[:3]], [int(word) >> 11 for word in words[4:7]]]
    np.testing.assert_array_equal(uniforms(7, 0, 2, 3) * 2**53, expected)


def test_uniforms_are_even_and_streams_differ() -> None:
    found = uniforms(1, 0, 20_000, 3)
    assert all(stats.kstest(column, "uniform").pvalue > 1e-4 for column in found.T)
    assert abs(np.corrcoef(found.T[0], uniforms(2, 0, 20_000, 3).T[0])[0, 1]) < 0.04
    assert abs(np.corrcoef(found[:-1, 0], found[1:, 0])[0, 1]) < 0.04
