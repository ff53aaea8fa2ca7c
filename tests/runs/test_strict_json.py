"""JSON that may be damaged or made by hand: a value, or one line."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrnexp.runs.strict_json import DEPTH, finite, loads

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(values)
def test_what_json_writes_is_read(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        loads(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xe9"', "utf-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), "nested"),
        (b"9" * 400, "digits"),
        (b"9" * 5000, "digits"),
        (rb'"\ud800"', "surrogates"),
        (rb'{"\uDcFF": 1}', "surrogates"),
    ],
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        loads(data)
    assert "\n" not in str(caught.value)


def test_what_is_not_refused() -> None:
    depth = b"[" * DEPTH + b"]" * DEPTH
    assert json.dumps(loads(depth)).encode() == depth
    assert loads(b"[" + b"{}," * DEPTH + b"{}]") == [{}] * (DEPTH + 1)
    assert loads(rb'"\ud83d\ude00"') == "\N{GRINNING FACE}"


def test_numbers_that_are_not_finite_become_none() -> None:
    assert finite({"a": math.nan, "b": (math.inf, 1)}) == {"a": None, "b": [None, 1]}
