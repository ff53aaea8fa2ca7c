r"""The terminal: text from outside is shown on it and cannot control it.

Labels, class names, file names and error messages may hold escape sequences that move the cursor, change the title of
the window or write into the clipboard, a carriage return that writes over a line, or controls that reverse the order of
characters. They are shown as Python writes them in a string: `\x1b`, `\r`, `\u202e`.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from wrnexp.errors import Stopped, one_line

# C0 but for tab and newline, delete and C1; the controls of writing direction (Unicode Standard Annex 9) and of
# interlinear annotation; separators of lines and paragraphs; half a character, as Python has for bytes of a file name
# that are not UTF-8. Joiners and variation selectors stay: scripts and emoji need them.
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff"
TAB = 8  # columns
UNSAFE = re.compile(f"[{CONTROLS}]")
UNSAFE_OR_NEWLINE = re.compile(f"[\n{CONTROLS}]")


def printable(text: str, *, newlines: bool = False) -> str:
    r"""Return text for a terminal or a log, with control characters and half characters as visible escapes.

    Args:
        text: from anywhere.
        newlines: whether it may have several lines; else a newline is shown as `\n`.
    """
    return (UNSAFE if newlines else UNSAFE_OR_NEWLINE).sub(_escape, text)


class Terminal(Console):
    """A console of rich whose text cannot control the terminal: no markup, no emoji codes, controls shown as escapes.

    Styles are given as `style=` or by `rich.text.Text`. Newlines are kept: whoever puts text from outside into a line
    of its own uses `printable`.

    Args:
        **options: those of `rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False} | options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render; only the segments by which rich itself moves the cursor may control the terminal."""
        for segment in super().render(renderable, options):
            if segment.control or not UNSAFE.search(segment.text):
                yield segment
            else:
                yield Segment(printable(segment.text, newlines=True), segment.style)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text in rich's form, whose constructor would leave some controls out instead of showing them."""
        return _expanded(super().render_str(printable(text, newlines=True), **options))


def safe_text(text: str, style: str = "") -> Text:
    """Return text from outside for one line, such as a cell of a table."""
    return _expanded(Text(printable(text), style))


def _expanded(text: Text) -> Text:
    """Return text with spaces for its tabs, which rich would count as nothing in the width of a table's cell."""
    text.expand_tabs(TAB)
    return text


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


@contextmanager
def harmless(failure: str, consequence: str) -> Iterator[None]:
    """Report an error of what results do not depend on, such as a picture, in one line on stderr, and continue.

    A `SystemExit` is such an error too, since libraries raise it: rich does where a pipe is closed. Ctrl-C and
    `Stopped` end the process.

    Args:
        failure: what was not done, for instance `curves.png was not drawn`.
        consequence: what that means for the run.
    """
    try:
        yield
    except Stopped:
        raise
    except (Exception, SystemExit) as error:
        warn(f"{failure} ({one_line(error)}); {consequence}")


def warn(text: str, *, newlines: bool = False) -> None:
    """Print text to stderr as `printable` gives it, or nothing where stderr is closed."""
    with suppress(OSError, ValueError):
        print(printable(text, newlines=newlines), file=sys.stderr)
