"""JSON from files that may be damaged or made by hand, which raise `ValueError` and nothing else."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

DEPTH = 100  # Python code that walks through values stops at 1,000
# No integer that a float can hold has so many digits; a string that has them is refused with it.
LONG_NUMBER = re.compile(rb"\d{309}")
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes) -> Any:
    """Parse JSON in UTF-8, without a byte order mark. As Python's own parser does, take NaN and infinities.

    Raises:
        ValueError: it is not that, is nested more than `DEPTH` deep, has an integer that no float can hold or half a
            surrogate pair; the message is one line.
    """
    try:
        value = json.loads(data.decode())
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} deep") from error
    if data.count(b"{") + data.count(b"[") > DEPTH and _is_deeper(value, DEPTH):
        raise ValueError(f"nested more than {DEPTH} deep")
    if LONG_NUMBER.search(data):
        raise ValueError("a number of more than 308 digits")
    if SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    return value


def finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not know, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(item, depth - 1) for item in inner)
