"""The walk over an error's causes."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wrnexp.errors import UserError, causes


def test_a_cause_comes_in_place_of_the_context() -> None:
    cause, context = KeyError("cause"), KeyError("context")
    error = ValueError("effect")
    error.__context__ = context
    assert list(causes(error)) == [error, context]
    error.__cause__ = cause
    assert list(causes(error)) == [error, cause]


def test_what_a_resolver_raises_is_reached_though_omegaconf_suppresses_it() -> None:
    def refuse() -> None:
        raise UserError("refused in its own words")

    OmegaConf.register_new_resolver("test_errors.refuse", refuse, replace=True)
    with pytest.raises(OmegaConfBaseException) as raised:
        OmegaConf.create({"key": "${test_errors.refuse:}"})["key"]
    assert "refused in its own words" in [str(cause) for cause in causes(raised.value) if isinstance(cause, UserError)]


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
    assert list(causes(cause)) == [cause, effect]
