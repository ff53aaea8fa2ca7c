"""The runs to publish: records under some folders, one for each W&B run."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from wrnexp.errors import UserError
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.media import Picture, pictures
from wrnexp.runs.record import Record, RecordError, read_metrics, read_record, record_folders
from wrnexp.tracking.wandb import content
from wrnexp.tracking.wandb.files import Fragment, folder_of, fragments


@dataclass(frozen=True)
class LocalRun:
    """A run as this machine has it.

    Attributes:
        folder: of the run.
        record: its record.
        rows: its epochs.
        identity: the id of its W&B run.
        project: the W&B project.
        entity: the W&B user or team; None is the account's default.
    """

    folder: Path
    record: Record
    rows: list[dict[str, Any]]
    identity: str
    project: str
    entity: str | None

    @property
    def name(self) -> str:
        """What the run is called."""
        return f"{self.record.label} seed {self.record.seed}"

    @property
    def epochs(self) -> list[int]:
        """The epochs that it has a row of."""
        return [row["epoch"] for row in self.rows]

    @cached_property
    def fragments(self) -> list[Fragment]:
        """What W&B keeps of it here."""
        return fragments(folder_of(self.folder), self.identity)

    @cached_property
    def pictures(self) -> list[Picture]:
        """Those of its pictures that can be read."""
        return pictures(self.folder)

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a value of `tracking.wandb` in the record's config."""
        node: Any = self.record.config
        for key in ("tracking", "wandb", name):
            node = node.get(key) if isinstance(node, dict) else None
        return default if node is None else node


@dataclass(frozen=True)
class LeftOut:
    """A run that is not published, and why."""

    folder: Path
    reason: str


def find_runs(folders: Sequence[Path], project: str | None, entity: str | None) -> tuple[list[LocalRun], list[LeftOut]]:
    """Return the runs in and below some folders, and those left out.

    Args:
        folders: runs' folders, or folders above them.
        project: the W&B project; None is that of the run's config.
        entity: the W&B user or team; None is that of the run's config.

    Raises:
        UserError: a folder does not exist, or there is no record in or below any of them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder: give runs' folders, or one above them such as outputs")
    paths = list(dict.fromkeys(path.resolve() for folder in folders for path in record_folders(folder)))
    if not paths:
        raise UserError(
            f"no record.json in or below {', '.join(map(str, folders))}: give runs' folders, or one above them such as "
            "outputs or multirun/<sweep>"
        )
    left: list[LeftOut] = []
    return list(_read(paths, project, entity, left)), left


def _read(paths: Iterable[Path], project: str | None, entity: str | None, left: list[LeftOut]) -> Iterator[LocalRun]:
    for path in paths:
        try:
            record, rows = read_record(path), read_metrics(path)
        except (RecordError, OSError) as error:
            left.append(LeftOut(path, f"its record cannot be read: {error}"))
            continue
        if record.data is None and not rows:
            left.append(LeftOut(path, f"it never began: {record.error or record.status}"))
            continue
        state = file_state(path, record, "metrics.jsonl")
        if state is FileState.DAMAGED or (state is FileState.ABSENT and "metrics.jsonl" in record.files):
            left.append(LeftOut(path, f"metrics.jsonl is {state.value}: the run's command writes it again"))
            continue
        place = content.place(record)
        run = LocalRun(path, record, rows, content.wandb_id(record), "", None)
        yield replace(
            run,
            project=str(project or place.get("project") or run.setting("project", "wrnexp")),
            entity=entity or place.get("entity") or run.setting("entity"),
        )


def one_each(runs: Sequence[LocalRun], entity: Callable[[str | None], str]) -> tuple[list[LocalRun], list[LeftOut]]:
    """Return one run for each W&B run, and those left out: the same experiment may be in several folders.

    A completed one is chosen, then the one with more epochs, then the newest.

    Args:
        runs: with the entity that their configs name.
        entity: returns the entity that such a name, or none, comes to at the server.
    """
    groups: dict[tuple[str, str, str], list[LocalRun]] = {}
    for run in runs:
        settled = replace(run, entity=entity(run.entity))
        groups.setdefault((settled.project, str(settled.entity), settled.identity), []).append(settled)
    chosen = [max(same, key=lambda run: (run.record.status == "completed", len(run.rows), _started(run)))
              for same in groups.values()]  # fmt: skip
    left = [
        LeftOut(run.folder, f"the same experiment as {one.folder}")
        for one, same in zip(chosen, groups.values(), strict=True)
        for run in same
        if run is not one
    ]
    return chosen, left


def _started(run: LocalRun) -> str:
    return str(run.record.provenance.get("started", ""))
