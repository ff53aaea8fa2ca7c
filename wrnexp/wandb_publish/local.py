"""The runs to publish: records below some folders, one for each W&B run."""

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
from wrnexp.tracking.wandb.files import Fragment, fragments, wandb_folder


@dataclass(frozen=True)
class LocalRun:
    """A run on this machine, and the W&B run that it is published to.

    Attributes:
        rows: the rows of metrics.jsonl.
        identity: the id of its W&B run.
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
        """Arm and seed, for messages."""
        return f"{self.record.label} seed {self.record.seed}"

    @property
    def epochs(self) -> list[int]:
        """The epochs with a row in metrics.jsonl."""
        return [row["epoch"] for row in self.rows]

    @cached_property
    def fragments(self) -> list[Fragment]:
        """W&B's local files of the run."""
        return fragments(wandb_folder(self.folder), self.identity)

    @cached_property
    def pictures(self) -> list[Picture]:
        """Its readable pictures."""
        return pictures(self.folder)

    def setting(self, name: str, default: Any = None) -> Any:
        """Return the value of `tracking.wandb.<name>` in the record's config."""
        node: Any = self.record.config
        for key in ("tracking", "wandb", name):
            node = node.get(key) if isinstance(node, dict) else None
        return default if node is None else node


@dataclass(frozen=True)
class LeftOut:
    """A run that is not published, and the reason."""

    folder: Path
    reason: str


def find_runs(folders: Sequence[Path], project: str | None, entity: str | None) -> tuple[list[LocalRun], list[LeftOut]]:
    """Return the runs in and below some folders, and those left out.

    Without project or entity, those in the run's record or config are used.

    Raises:
        UserError: a folder does not exist, or there is no record in or below any of them.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give runs' folders, or one above them such as outputs")
    paths = list(dict.fromkeys(path.resolve() for folder in folders for path in record_folders(folder)))
    if not paths:
        raise UserError(
            f"no record.json in or below {', '.join(map(str, folders))}: give runs' folders, or one above them such as "
            "outputs or multirun/<sweep>"
        )
    left_out: list[LeftOut] = []
    return list(_read(paths, project, entity, left_out)), left_out


def _read(
    paths: Iterable[Path], project: str | None, entity: str | None, left_out: list[LeftOut]
) -> Iterator[LocalRun]:
    for path in paths:
        try:
            record, rows = read_record(path), read_metrics(path)
        except (RecordError, OSError) as error:
            left_out.append(LeftOut(path, f"its record cannot be read: {error}"))
            continue
        if record.data is None and not rows:
            left_out.append(LeftOut(path, f"it never began: {record.error or record.status}"))
            continue
        state = file_state(path, record, "metrics.jsonl")
        if state is FileState.DAMAGED or (state is FileState.ABSENT and "metrics.jsonl" in record.files):
            left_out.append(LeftOut(path, f"metrics.jsonl is {state.value}: the run's command writes it again"))
            continue
        location = content.wandb_location(record)
        run = LocalRun(path, record, rows, content.wandb_id(record), "", None)
        yield replace(
            run,
            project=str(project or location.get("project") or run.setting("project", "wrnexp")),
            entity=entity or location.get("entity") or run.setting("entity"),
        )


def deduplicate(runs: Sequence[LocalRun], entity: Callable[[str | None], str]) -> tuple[list[LocalRun], list[LeftOut]]:
    """Return one run for each W&B run, and those left out: copies of a run may be in several folders.

    A completed run is preferred, then the one with more epochs, then the newest.

    `entity` resolves the entity of a config, or None, to one at the server.
    """
    copies: dict[tuple[str, str, str], list[LocalRun]] = {}
    for run in runs:
        resolved = replace(run, entity=entity(run.entity))
        copies.setdefault((resolved.project, str(resolved.entity), resolved.identity), []).append(resolved)
    chosen, left_out = [], []
    for group in copies.values():
        best = max(group, key=lambda run: (run.record.status == "completed", len(run.rows), _started(run)))
        chosen.append(best)
        left_out += [LeftOut(run.folder, f"the same experiment as {best.folder}") for run in group if run is not best]
    return chosen, left_out


def _started(run: LocalRun) -> str:
    return str(run.record.provenance.get("started", ""))
