"""The parts of a section of the page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wrnexp.report.page.chart import Chart


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows.

    Attributes:
        numbers: whether all other columns are numbers, which are aligned to the right.
        folded: whether the table is collapsed initially.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    numbers: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Pictures:
    """Images as (`data:` URL, caption)."""

    caption: str
    images: list[tuple[str, str]]


Part = str | Table | Chart | Pictures


@dataclass(frozen=True)
class Section:
    """A section of the page; `name` is its element id."""

    name: str
    title: str
    parts: list[Part] = field(default_factory=list)


def table(
    caption: str, columns: Iterable[str], rows: Iterable[Sequence[str]], numbers: bool = False, folded: bool = False
) -> Table:
    """Return a table, copying columns and rows."""
    return Table(caption, [*columns], [[*row] for row in rows], numbers, folded)
