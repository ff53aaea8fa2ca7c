"""What a run knows of the command that started it."""

from dataclasses import dataclass, field
from pathlib import Path

from wrnexp.process.signals import TimeLimit


@dataclass(frozen=True)
class Invocation:
    """The command of a run; the defaults are those of a run started from Python.

    Attributes:
        recipe: the name of what the groups were set to, for instance `light`.
        sweep: name of the sweep that the run belongs to.
        overrides: of the command line.
        shared: the folder next to the runs' folders, where W&B's files are written.
        limit: time limit of the sweep.
    """

    recipe: str = "base"
    sweep: str | None = None
    overrides: list[str] = field(default_factory=list)
    shared: Path | None = None
    limit: TimeLimit | None = None
