"""Hydra overrides that turn one composed config into another, whatever its values are."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wrnexp.config.differences import ABSENT, NAME, Difference
from wrnexp.errors import UserError

# Words that need no quotes and that Hydra's grammar takes for text.
BARE = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
# A value, or a part of one that commas and brackets delimit.
WORD = re.compile(r"[^\s,\[\]{}()](?:[^,\[\]{}()]*[^\s,\[\]{}()])?")
MISSING = "???"  # OmegaConf's mark of a value that must be given
RESERVED = frozenset({"null", "true", "false", "inf", "nan"})


def overrides(differences: Iterable[Difference]) -> list[str]:
    """Return the overrides that give a config the second value of each difference where it has the first.

    Raises:
        UserError: a value holds what Hydra's grammar cannot say; the message names its key.
    """
    return [text for difference in differences for text in _overrides(difference)]


def quote_letters(arguments: Iterable[str]) -> list[str]:
    """Return a command's arguments with quotes around words of other scripts than ASCII.

    The quotes of `name='дропаут'` are the shell's, and Hydra's grammar takes such letters only in quotes of its own.
    An argument that has quotes, escapes or interpolations is returned as it is.
    """
    return [_with_quotes(argument) for argument in arguments]


def _with_quotes(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if value.isascii() or key.startswith("--") or re.search(r"""['"\\]|\$\{""", value):
        return argument
    return key + equals + WORD.sub(lambda word: word[0] if word[0].isascii() else f"'{word[0]}'", value.strip())


def literal(value: Any) -> str:
    """Return a plain value as Hydra's grammar writes it.

    Raises:
        ValueError: the grammar has no way to write it.
    """
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_key(key)}:{literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(literal, value))}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value if BARE.fullmatch(value) and value.lower() not in RESERVED else f"'{escaped(verbatim(value))}'"
    raise ValueError(f"no value of type {type(value).__name__} can be written")


def _overrides(difference: Difference) -> Iterator[str]:
    key, a, b = difference.key, difference.a, difference.b
    if b is ABSENT:
        if a is None or a == MISSING:  # Hydra says of such a key that it does not exist
            yield f"{key}=0"
        yield f"~{key}"
        return
    if isinstance(a, Mapping | list) and isinstance(b, Mapping | list):
        yield f"{key}=null"  # a mapping would be merged into what is there
    try:
        yield f"{'+' if a is ABSENT else ''}{key}={literal(b)}"
    except ValueError as error:
        raise UserError(f"{key}={b!r} cannot be written as an override: {error}") from error


def verbatim(text: str) -> str:
    """Keep OmegaConf from reading `${` as the start of an interpolation."""
    return re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)


def escaped(text: str) -> str:
    """Return `text` as it stands between single quotes in Hydra's grammar.

    There a backslash is one only before a quote: those, and those at the end, are doubled.
    """
    return re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)


def _key(key: Any) -> str:
    if isinstance(key, str) and NAME.fullmatch(key) and not key.isdigit() and key.lower() not in RESERVED:
        return key
    if isinstance(key, bool) or not isinstance(key, int | float) or not math.isfinite(key):
        raise ValueError(f"the key {key!r} of a mapping has no spelling in Hydra's grammar")
    return repr(key)
