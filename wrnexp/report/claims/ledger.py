"""The claims ledger: conf/claims/*.yaml, one claim an entry, with the measure and the range that bear it out."""

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wrnexp.errors import UserError
from wrnexp.report.claims.measured import MEASURES

FOLDER = Path(__file__).parents[3] / "conf" / "claims"
Compare = Literal["ratio", "difference", "equivalence", "time", "level"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """One claim.

    Attributes:
        claim: the sentence; `{a}` and `{b}` stand for the arms' labels.
        measure: what is measured in each run, a key of `MEASURES`.
        compare: `ratio` b / a or `difference` b - a over common seeds, `equivalence` of the two, `time` until something
            is reached (a ratio; an arm that never gets there is later), or the `level` of b by itself.
        above: where the whole interval must lie, or
        below: likewise; or
        within: so far either way of 0, or of `of` for a level.
        criterion: the range in words.
        a: labels, the first one that is there; the ledger's where it is empty.
        b: likewise.
    """

    claim: str
    measure: str
    compare: Compare
    criterion: str
    above: float | None = None
    below: float | None = None
    within: float | None = Field(default=None, gt=0)
    of: float | None = None
    a: tuple[str, ...] = ()
    b: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.measure not in MEASURES:
            raise ValueError(f"measure {self.measure!r} is not one of {', '.join(sorted(MEASURES))}")
        if [self.above, self.below, self.within].count(None) != 2:
            raise ValueError("give one of above, below and within")
        if (self.compare == "equivalence" and self.within is None) or (self.of is not None and self.within is None):
            raise ValueError("give within, the largest difference that does not matter")
        if (self.of is None) == (self.compare == "level" and self.within is not None):
            raise ValueError("of goes with compare: level and within")
        return self

    @property
    def threshold(self) -> float:
        """The edge of the range."""
        return next(edge for edge in (self.above, self.below, self.within) if edge is not None)


class Ledger(_Part):
    """Claims of one source.

    Attributes:
        source: who claims it, or of what.
        setting: `cifar100` where the claims are of CIFAR-100 in full on a GPU, so that others are marked.
        a: labels of the arm that the claims compare with, the first one that is there.
        b: likewise of the one that they are about.
        claims: the entries.
    """

    source: str
    setting: Literal["cifar100"] | None
    a: tuple[str, ...] = ()
    b: tuple[str, ...] = ()
    claims: tuple[Entry, ...]

    def labels(self, entry: Entry) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the labels that an entry's arms a and b may have."""
        return entry.a or self.a, entry.b or self.b


def read_ledgers(folder: Path = FOLDER) -> dict[str, Ledger]:
    """Read all ledgers of a folder by their names, `light` first.

    Raises:
        UserError: one of them is not right; the message names the file, the place and what is wrong.
    """
    paths = sorted(folder.glob("*.yaml"), key=lambda path: (path.stem != "light", path.stem))
    return {path.stem: read_ledger(path) for path in paths}


def read_ledger(path: Path) -> Ledger:
    """Read one ledger.

    Raises:
        UserError: as in `read_ledgers`.
    """
    try:
        return Ledger.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, OSError) as error:
        raise UserError(f"{path} is no YAML file that can be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
