import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrnexp.data.sources.unpickle import unpickle
from wrnexp.errors import UserError

BATCH = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "batch_label": "training batch 1 of 5"}
PICKLED = pickle.dumps(BATCH, 2)


class Runs:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def is_batch(batch: Any) -> bool:
    return (
        bool((batch["data"] == BATCH["data"]).all()) and batch["labels"] == [1, 2] and batch["data"].dtype == np.uint8
    )


@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_pickles_of_old_and_new_numpy_are_read(module: bytes) -> None:
    assert b"numpy._core" in PICKLED
    assert is_batch(unpickle(PICKLED.replace(b"numpy._core", module), "train"))


def test_pickles_of_python_2_are_read(python2: Callable[[Any], bytes]) -> None:
    data = python2(BATCH)
    assert is_batch(pickle.loads(data, encoding="latin1"))  # the writer is right
    assert is_batch(unpickle(data, "train"))


def test_no_code_runs(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(UserError, match=r"train is refused: it contains .*mkdir, which no CIFAR archive does"):
        unpickle(pickle.dumps({"data": Runs(os.mkdir, str(made))}), "train")
    assert not made.exists()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Runs(eval, "1"), id="eval"),
        pytest.param(Runs(getattr, "text", "upper"), id="getattr"),
        Path("file"),
        np.arange(3.0),
        np.array([None, "object"], dtype=object),
        np.float64(1),
        {1, 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_plain_values_and_uint8_arrays_are_allowed(value: Any) -> None:
    with pytest.raises(UserError, match="train is refused"):
        unpickle(pickle.dumps(value, 2), "train")


@pytest.mark.parametrize("length", [0, 1, 20, len(PICKLED) - 1])
def test_a_pickle_cut_short_is_reported(length: int) -> None:
    with pytest.raises(UserError, match="train is damaged or cut short"):
        unpickle(PICKLED[:length], "train")


# Always the same examples: a byte in the wrong place can make any unpickler ask for gigabytes.
@settings(derandomize=True, deadline=None)
@given(st.data())
def test_damage_raises_nothing_but_a_user_error(data: st.DataObject) -> None:
    damaged = bytearray(PICKLED)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UserError):
        unpickle(bytes(damaged), "train")
