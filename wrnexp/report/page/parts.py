"""What a section of the page is made of, beside charts and paragraphs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wrnexp.report.page.chart import Chart


@dataclass(frozen=True)
class Table:
    """A table: the first column names the rows; the others are set to the right where they are numbers.

    Attributes:
        caption: what the table holds.
        columns: its heads.
        rows: its cells as text.
        numbers: whether all columns but the first are numbers.
        folded: whether it is shown only when asked for.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numbers: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Pictures:
    """Images as `data:` addresses, each with its caption."""

    caption: str
    images: list[tuple[str, str]]


Part = str | Table | Chart | Pictures


@dataclass(frozen=True)
class Section:
    """A section of the page: its id, its heading and its parts in order."""

    name: str
    title: str
    parts: list[Part] = field(default_factory=list)


def table(
    caption: str, columns: Iterable[str], rows: Iterable[Sequence[str]], numbers: bool = False, folded: bool = False
) -> Table:
    """Return a table of these cells."""
    return Table(caption, [*columns], [[*row] for row in rows], numbers, folded)
