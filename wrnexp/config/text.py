"""Text from outside, before it is written into records, pages, file names and terminals."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

TEXT_LIMIT = 200  # characters of a label or a name
SHOWN_LIMIT = 160  # characters of a value that a message shows
PRINTABLE = "printable characters, UTF-8"

_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol that look like a space
_ZERO_WIDTH_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are written with them


def is_printable(text: str) -> bool:
    """True if every character can be written as UTF-8 and shown.

    Not so control characters, line breaks, invisible formatting such as a change of the writing direction, and lone
    surrogates, which Python makes of bytes of a command line or a file name that are not in its encoding.
    """
    return all(_is_printable(character) for character in text)


def visible(text: str) -> str:
    """Return a text in one line for a message, with escapes for characters that are not printable."""
    return "".join(character if _is_printable(character) else _escape(character) for character in text)


def excerpt(text: str) -> str:
    """Return what `visible` does, a long text cut and with its length."""
    shown = visible(text)
    return shown if len(shown) <= SHOWN_LIMIT else f"{shown[:SHOWN_LIMIT]}... ({len(text):,} characters)"


def _require_printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("not printable")
    return text


def _require_visible(text: str) -> str:
    if text and not any(
        unicodedata.category(character)[0] in "LNPS" and character not in _FILLERS for character in text
    ):
        raise ValueError("nothing to see")
    return text


def _text(value: Any) -> Any:
    """Take a number for the text that was typed: `name=2024`."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_printable(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Cc", "Cs", "Cf", "Cn", "Co", "Zl", "Zp") or character in _ZERO_WIDTH_JOINERS


def _escape(character: str) -> str:
    escape = character.encode("unicode_escape").decode()
    return re.sub(r"^\\udc([89a-f].)$", r"\\x\1", escape)  # a byte that is not UTF-8, as Python keeps it


Printable = Annotated[str, AfterValidator(_require_printable)]
Visible = Annotated[Printable, AfterValidator(_require_visible)]
Word = Annotated[Printable, Field(min_length=1, max_length=64)]
Label = Annotated[
    Annotated[Visible, Field(max_length=TEXT_LIMIT)] | None,
    Field(description=f"text of up to {TEXT_LIMIT} {PRINTABLE}, or null"),
    BeforeValidator(_text),
]
Name = Annotated[
    Annotated[Visible, Field(max_length=TEXT_LIMIT, pattern=r"^[^/\\]+$")] | None,
    Field(description=f"text without slashes of up to {TEXT_LIMIT} {PRINTABLE}, or null"),
    BeforeValidator(_text),
]
