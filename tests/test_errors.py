"""The walk over an error's causes."""

import pytest

from wrnexp.errors import causes


def test_causes_come_before_contexts_and_suppressed_contexts_do_not_come() -> None:
    cause, context = KeyError("cause"), KeyError("context")
    error = ValueError("effect")
    error.__context__ = context
    assert list(causes(error)) == [error, context]
    error.__suppress_context__ = True
    assert list(causes(error)) == [error]
    error.__cause__ = cause
    assert list(causes(error)) == [error, cause]


def test_a_circle_of_causes_ends() -> None:
    first, second, third = ValueError("1"), ValueError("2"), ValueError("3")
    first.__cause__ = second
    second.__context__ = third
    third.__context__ = second
    assert list(causes(first)) == [first, second, third]
    second.__context__ = second
    assert list(causes(first)) == [first, second]


def test_raising_a_cause_where_its_effect_is_handled_makes_such_a_circle() -> None:
    cause, effect = ValueError("cause"), RuntimeError("effect")

    def raise_cause() -> None:
        try:
            raise effect from cause
        except RuntimeError:
            raise cause from None

    with pytest.raises(ValueError, match="cause"):
        raise_cause()
    assert cause.__context__ is effect
    assert effect.__cause__ is cause
    cause.__suppress_context__ = False
    assert list(causes(cause)) == [cause, effect]
