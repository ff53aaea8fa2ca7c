"""Overrides written for Hydra give exactly the values that they were written for."""

import json
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from wrnexp.config.differences import Difference, differences, equal
from wrnexp.errors import UserError
from wrnexp.hydra_app.overrides import literal, overrides, quote_letters, verbatim

PARSER = OverridesParser.create()

TRICKY = [
    "null", "NULL", "true", "1", "1e5", "inf", "nan", "a,b", "${x}", "\\${x}", "${", "it's", "a\\", "'", "\\'", "[1]",
    "{a:1}", "x=y", "~", "???", " a b ", "$", "#", "choice(1,2)", "line\nline", "é", "", "a:b", "/path/to", "0x1",
    "1_000",
]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.sampled_from(TRICKY)
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
NODES = st.dictionaries(NAMES, VALUES, max_size=4)


def _stored(value: Any) -> Any:
    """Return what a config file would say for a value that holds no interpolation."""
    if isinstance(value, dict):
        return {key: _stored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_stored(item) for item in value]
    return verbatim(value) if isinstance(value, str) else value


def applied(config: dict[str, Any], texts: list[str]) -> Any:
    """Return the resolved config after Hydra itself has applied the overrides."""
    node = OmegaConf.create(_stored(config))
    OmegaConf.set_struct(node, True)
    ConfigLoaderImpl._apply_overrides_to_config(PARSER.parse_overrides(texts), node)
    return OmegaConf.to_container(node, resolve=True)


@settings(deadline=None, max_examples=300)
@given(NODES, NODES)
@example({"k": None}, {})
@example({"k": {"a": 1}}, {"k": [1]})
@example({"k": [1]}, {"k": {"a": {"b": None}}})
@example({"k": {"a": 1, "gone": 2}}, {"k": {"a": {}}})
@example({"k": {"two": {3: 4}}}, {"k": {"two": {5: 6}}})
def test_the_overrides_of_the_differences_turn_one_config_into_the_other(a: dict[str, Any], b: dict[str, Any]) -> None:
    found = differences({"node": a}, {"node": b})
    assert equal(applied({"node": a}, overrides(found)), {"node": b})


@pytest.mark.parametrize("text", TRICKY)
def test_text_stays_text(text: str) -> None:
    assert applied({"k": 0}, [f"k={literal(text)}"]) == {"k": text}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("randaugment", "randaugment"),
        ("wrnexp.optim.Cosine", "wrnexp.optim.Cosine"),
        (None, "null"),
        (False, "false"),
        (1e-07, "1e-07"),
        ([60, 120.5, None], "[60,120.5,null]"),
        ({"a": "b c"}, "{a:'b c'}"),
        ("Null", "'Null'"),
    ],
)
def test_plain_values_are_written_plainly(value: Any, written: str) -> None:
    assert literal(value) == written


def test_every_override_is_one_value_to_hydra() -> None:
    for text in TRICKY:
        (parsed,) = PARSER.parse_overrides([f"k={literal(text)}"])
        assert not parsed.is_sweep_override()


def test_a_key_without_a_spelling_is_told() -> None:
    with pytest.raises(UserError, match=r"model\.map=.*'two words'"):
        overrides([Difference("model.map", None, {"two words": 1})])


def test_what_is_no_plain_value_is_told() -> None:
    with pytest.raises(UserError, match="bytes"):
        overrides([Difference("k", None, b"x")])
    assert json.dumps(literal([1, "a"])) == '"[1,a]"'


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("name=дропаут", "name='дропаут'"),
        ("label= мой опыт 2 ", "label='мой опыт 2'"),
        ("label=日本,b,é:1", "label='日本',b,'é:1'"),
        ("+tags=[日本, b]", "+tags=['日本', b]"),
        ("label=choice(ä,b)", "label=choice('ä',b)"),
    ],
)
def test_letters_of_any_script_need_no_quotes(argument: str, quoted: str) -> None:
    assert quote_letters([argument]) == [quoted]
    PARSER.parse_overrides([quoted])


@pytest.mark.parametrize("argument", [
    "-m", "--config-dir=/日本", "日本", "label='日本'", 'label="é"', "label=${name} é", r"label=é\\,x", "optim.lr=1,2",
])  # fmt: skip
def test_other_arguments_are_left_as_they_are(argument: str) -> None:
    assert quote_letters([argument]) == [argument]


@given(st.text(st.characters(categories=["L", "N", "So"]), min_size=1))
def test_a_quoted_word_is_the_text(text: str) -> None:
    word = f"é{text}"
    (override,) = PARSER.parse_overrides(quote_letters([f"label={word}"]))
    assert str(override.value()).strip("'") == word
