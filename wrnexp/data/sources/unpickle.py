"""The pickles of the official archives, read without letting a pickle run code."""

import io
import pickle
from typing import Any

import numpy as np

from wrnexp.data.messages import reason
from wrnexp.errors import UserError


def unpickle(data: bytes, where: str) -> Any:
    """Read a pickle that holds plain values and uint8 arrays; any other type in it is refused.

    Args:
        data: the pickle, of Python 2 or 3.
        where: what it is, for messages.

    Raises:
        UserError: it is damaged, cut short, or holds another type.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _RefusedError as error:
        raise UserError(f"{where} is refused: it holds {error}, which no CIFAR archive does") from error
    except Exception as error:  # what a damaged pickle raises has no bounds
        raise UserError(f"{where} is damaged or cut short ({type(error).__name__}: {reason(error)})") from error


class _RefusedError(Exception):
    """The pickle names something that is not let in."""


class _Unpickler(pickle.Unpickler):
    """An unpickler that lets in what the archives hold and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _LET_IN[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
    """Stand in for numpy's `_reconstruct`, which makes an empty array whose state comes next."""
    return np.ndarray((0,), dtype=np.uint8)


def _uint8(code: str, *_: object) -> np.dtype[Any]:
    """Stand in for `numpy.dtype`: the archives hold bytes only. A copy, because its state is set next."""
    if code not in ("u1", "|u1"):
        raise _RefusedError(f"an array of type {code!r}")
    return np.dtype("u1", align=False, copy=True)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `codecs.encode`, with which Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise _RefusedError(f"text encoded as {encoding!r}")
    return text.encode("latin1")


_LET_IN = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _uint8,
    ("_codecs", "encode"): _encode,
}
