"""Find the runs under some folders and set apart, with a reason each, those that do not compare."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wrnexp.errors import UserError
from wrnexp.report import diverged
from wrnexp.report.arms import Arm, group
from wrnexp.report.measures import Run
from wrnexp.runs.files import read_regular
from wrnexp.runs.record import DataInfo, Record, RecordError, read_record, record_folders
from wrnexp.runs.strict_json import loads


@dataclass(frozen=True)
class Excluded:
    """A run that is in no table, why, and its record where that could be read."""

    run_id: str
    reason: str
    record: Record | None = None


@dataclass(frozen=True)
class Collection:
    """Arms, and the runs left out of them."""

    arms: list[Arm]
    excluded: list[Excluded]


def find_runs(folders: Sequence[Path]) -> Collection:
    """Read every record in and below some folders and group the completed runs into arms.

    Args:
        folders: runs' folders or folders above them; hidden ones and `wandb` below them are passed over.

    Raises:
        UserError: a folder does not exist, holds no record, or no run is completed.
    """
    runs, excluded = _read(folders)
    runs = _set_apart(runs, _unusable, excluded)
    if not runs:
        raise UserError(f"no completed run under {_named(folders)}: {reasons(excluded)}.")
    return Collection(group(runs), excluded)


def comparable(found: Collection) -> Collection:
    """Set apart the runs on other data than most, and all but one run of the same arm and seed."""
    excluded = list(found.excluded)
    runs = [run for arm in found.arms for run in arm.runs]
    runs = _set_apart(runs, _other_data(runs), excluded)
    runs = _set_apart(runs, _repeats(runs), excluded)
    return Collection(group(runs), excluded)


def reasons(excluded: Sequence[Excluded]) -> str:
    """Return the reasons in one line, the first three of many."""
    shown = "; ".join(entry.reason for entry in excluded[:3])
    return shown if len(excluded) <= 3 else f"{shown}; and {len(excluded) - 3} more"


def _read(folders: Sequence[Path]) -> tuple[list[Run], list[Excluded]]:
    runs: list[Run] = []
    excluded: list[Excluded] = []
    for folder, place in _find(folders):
        try:
            runs.append(Run(folder, place, read_record(folder)))
        except (RecordError, OSError) as error:
            excluded.append(Excluded(_stored_id(folder), f"{place}: the record cannot be read: {error}"))
    if not runs and not excluded:
        raise UserError(
            f"no record.json in or below {_named(folders)}: give runs' folders, or one above them such as outputs "
            "or multirun/<sweep>."
        )
    return runs, excluded


def _find(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each folder that has a record once, with its place relative to the folder given."""
    seen = set()
    for top in folders:
        if not top.is_dir():
            raise UserError(f"{top} is not a folder: give runs' folders, or one above them.")
        for folder in record_folders(top):
            if (real := folder.resolve()) not in seen:
                seen.add(real)
                yield folder, (Path(top.resolve().name) / folder.relative_to(top)).as_posix()


def _stored_id(folder: Path) -> str:
    """Return the `run_id` of a record that is not valid as a whole, else the folder's name."""
    try:
        stored = loads(read_regular(folder / "record.json"))["run_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return folder.resolve().name
    return stored if isinstance(stored, str) else folder.resolve().name


def _set_apart(runs: list[Run], objection: Callable[[Run], str], excluded: list[Excluded]) -> list[Run]:
    """Return the runs without an objection and append the others to `excluded`."""
    kept = []
    for run in runs:
        if reason := objection(run):
            excluded.append(Excluded(run.record.run_id, f"{run.place}: {reason}", run.record))
        else:
            kept.append(run)
    return kept


def _unusable(run: Run) -> str:
    if run.record.status != "completed":
        return f"status is {run.record.status}" + (f" ({run.record.error})" if run.record.error else "")
    if why := diverged.reason(run.record):
        return f"it diverged: {why}"
    if run.record.metrics.get("test_accuracy") is None:
        return "the record has no test accuracy"
    if not 0 <= run.accuracy <= 1:
        return f"test accuracy {run.accuracy:g} is not in 0..1"
    return ""


def _other_data(runs: list[Run]) -> Callable[[Run], str]:
    """Object to runs whose data are not those of most runs; at a tie, not those of the first arm."""
    times = Counter(_data_key(run.record) for run in runs)
    first = max(runs, key=lambda run: times[_data_key(run.record)])

    def objection(run: Run) -> str:
        if _data_key(run.record) == _data_key(first.record):
            return ""
        return f"its data ({_data_text(run.record.data)}) are not those of most runs ({_data_text(first.record.data)})"

    return objection


def _data_key(record: Record) -> object:
    # The number of training images may be what an arm changes; the test images must be the same.
    data = record.data
    return data and (data.name, tuple(sorted(data.digest.items())), data.test)


def _data_text(data: DataInfo | None) -> str:
    if data is None:
        return "not recorded"
    digests = ", ".join(f"{split} {digest[:8]}" for split, digest in sorted(data.digest.items()))
    return f"{data.name}, {data.test:,} test images, digests {digests}"


def _repeats(runs: list[Run]) -> Callable[[Run], str]:
    """Object to all but the first finished of the runs of one arm and seed, whatever their results."""
    kept: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda run: (_finished(run.record), run.place)):
        kept.setdefault((run.record.arm_id, run.record.seed), run)

    def objection(run: Run) -> str:
        first = kept[run.record.arm_id, run.record.seed]
        return "" if first is run else f"the same arm and seed as {first.place}, which finished first"

    return objection


def _finished(record: Record) -> datetime:
    """Return when the run finished, in UTC; runs that do not say come last."""
    try:
        time = datetime.fromisoformat(str(record.provenance.get("finished")))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _named(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))
