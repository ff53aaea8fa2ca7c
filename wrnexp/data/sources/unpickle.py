"""Read the pickles of the official archives without running code from them."""

import io
import pickle
from typing import Any

import numpy as np

from wrnexp.data.messages import reason
from wrnexp.errors import UserError


def unpickle(data: bytes, where: str) -> Any:
    """Read a pickle of Python 2 or 3 that contains plain values and uint8 arrays; other types are refused.

    Args:
        data: the pickle.
        where: its source, for error messages.

    Raises:
        UserError: the pickle is damaged, cut short, or contains another type.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as error:
        raise UserError(f"{where} is refused: it contains {error}, which no CIFAR archive does") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"{where} is damaged or cut short ({type(error).__name__}: {reason(error)})") from error


class _RefusedError(Exception):
    """The pickle refers to something that is not allowed."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
    """Replace numpy's `_reconstruct`, which makes an empty array; the pickle sets its state next."""
    return np.ndarray((0,), dtype=np.uint8)


def _uint8(code: str, *_: object) -> np.dtype[Any]:
    """Replace `numpy.dtype`; uint8 only. Returns a copy, because the pickle sets its state next."""
    if code not in ("u1", "|u1"):
        raise _RefusedError(f"an array of type {code!r}")
    return np.dtype("u1", align=False, copy=True)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Replace `codecs.encode`, which Python 3 uses for bytes in protocol 2."""
    if encoding != "latin1":
        raise _RefusedError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _uint8,
    ("_codecs", "encode"): _encode,
}
