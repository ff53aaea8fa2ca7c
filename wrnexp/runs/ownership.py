"""Whose run a folder holds: compared with the config before anything there is resumed, reused or overwritten."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wrnexp.config import identity
from wrnexp.config.differences import differences, format_value
from wrnexp.errors import UserError, one_line
from wrnexp.process.terminal import printable, warn
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.files import NoFileError
from wrnexp.runs.provenance import are_programs
from wrnexp.runs.record import SCHEMA_VERSION, NewerRecordError, Record, RecordError, read_record

RESULTS = ("metrics.jsonl", "predictions.npz", "model.safetensors")  # a run's own files beside record and checkpoints
STUDY = "study.journal"  # in a search's folder
SHOWN = 6  # differing keys in a message
RESTORE = "restore them from a copy, or use rerun=true to train the run again in a new folder"
OTHER_FOLDER = "leave hydra.run.dir and hydra.sweep.subdir out, or name another folder"


def require_own_folder(folder: Path, config: Mapping[str, Any], *, busy: bool = False) -> Record | None:
    """Return the record in a run's folder; None if there is none, or one of a run that trained nothing.

    A damaged record is renamed, with a line on stderr: checkpoints say whose they are, too.

    Args:
        folder: of the run; need not exist.
        config: the resolved config that is to be run there.
        busy: another process is at work in the folder.

    Raises:
        UserError: the record is of another run, of a newer schema, or cannot be read, or `rerun=true` is set and the
            folder holds a run already.
    """
    try:
        record = own_record(folder, identity.run_id(config), config, rerun=config.get("rerun") is True, busy=busy)
    except RecordError as error:
        path = folder / "record.json"
        warn(f"{path} is damaged ({error}) and was renamed to {set_aside(path).name}")
        return None
    return record


def set_aside(path: Path) -> Path:
    """Rename a damaged file, or folder in its place, so that another can be written; return its new path.

    Raises:
        UserError: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise UserError(f"{path} is damaged and cannot be renamed ({one_line(error)}): move it away") from error
    return aside


def clear_logs(folder: Path) -> None:
    """Rename what is in the place of a log or of Hydra's files, with a line on stderr.

    Opening a named pipe would wait for a reader, and a folder cannot be written to.

    Args:
        folder: of the run; need not exist.

    Raises:
        UserError: it cannot be renamed.
    """
    places = [(folder / ".hydra", Path.is_dir)]
    places += [(path, Path.is_file) for path in (*folder.glob("*.log"), *folder.glob(".hydra/*.yaml"))]
    for path, is_right in places:
        if path.exists() and not is_right(path) and not path.is_char_device():  # logs may be sent to /dev/null
            warn(
                f"{path} is in the place of {'a folder' if is_right is Path.is_dir else 'a file'} and was renamed to "
                f"{set_aside(path).name}"
            )


def own_record(
    folder: Path, run_id: str, config: Mapping[str, Any], *, rerun: bool = False, busy: bool = False
) -> Record | None:
    """Read the record of a run; None if there is none, or one of another run that trained nothing.

    Args:
        folder: of the run.
        run_id: of the run.
        config: of the run, nested; names the keys that differ.
        rerun: refuse a folder that holds a run, unless an earlier process of the same rerun was interrupted there.
        busy: another process is at work in the folder.

    Raises:
        UserError: the record is of another run or of a newer schema, or the file cannot be read.
        RecordError: the record is damaged, or a folder, named pipe or device is in its place.
    """
    path = folder / "record.json"
    try:
        record = read_record(folder)
    except FileNotFoundError:
        return None
    except NewerRecordError as error:
        raise UserError(f"{path}: {error}; update wrnexp, or {OTHER_FOLDER}") from error
    except RecordError as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, NoFileError):
            raise UserError(f"{path} cannot be read ({one_line(error.__cause__)}); {OTHER_FOLDER}") from error
        raise
    if rerun and not _resumes_rerun(record):
        raise UserError(
            f"rerun=true trains in a new folder, and {folder} holds run {printable(record.run_id)} ({record.status}): "
            f"{OTHER_FOLDER}"
        )
    if record.run_id == run_id:
        return record
    if not busy and not _has_trained(folder, record):
        return None
    raise UserError(_refusal(f"{folder} holds", record.run_id, identity.identity_config(record.config), run_id, config))


def describes_run(about: Any) -> bool:
    """Say whether a value is what a checkpoint says of its run: nothing, all of its parts, or a newer schema's."""
    if not isinstance(about, dict):
        return False
    version = about.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or not about or version > SCHEMA_VERSION:
        return type(version) is int
    kinds = {"run_id": str, "config": dict, "data": dict, "classes": list}
    return all(isinstance(about.get(key), kind) for key, kind in kinds.items()) and are_programs(about.get("programs"))


def require_own_checkpoint(path: Path, about: Mapping[str, Any], epochs: int, config: Mapping[str, Any]) -> None:
    """Compare what a checkpoint says of its run with the config.

    Args:
        path: of the checkpoint.
        about: its part `run`; empty in those of earlier versions.
        epochs: that are complete in it.
        config: the resolved config; may be wrong.

    Raises:
        UserError: it is of another run, or of a newer schema.
    """
    if about.get("schema_version", SCHEMA_VERSION) > SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {about['schema_version']} is newer than this program's {SCHEMA_VERSION}; update "
            f"wrnexp, or {OTHER_FOLDER}"
        )
    if about and about["run_id"] != identity.run_id(config):
        raise UserError(_refusal(f"{path} is of", about["run_id"], about["config"], identity.run_id(config), config))
    planned = identity.flat(config).get("optim.epochs")
    if isinstance(planned, int) and epochs > planned:
        raise UserError(
            f"{path} has {epochs} epochs, and this run {planned} (optim.epochs): it is of another run; {OTHER_FOLDER}"
        )


def require_same_data(
    folder: Path,
    then: Mapping[str, str],
    now: Mapping[str, str],
    classes_then: Sequence[str] = (),
    classes_now: Sequence[str] = (),
) -> None:
    """Compare the data with those that the run in a folder began with.

    Args:
        folder: of the run.
        then: content digest of each split that the run began with.
        now: the same of the data as they are.
        classes_then: names of the classes that the run began with; empty where they are not known.
        classes_now: the same of the data as they are.

    Raises:
        UserError: they differ.
    """
    splits = [split for split in sorted({*then, *now}) if then.get(split) != now.get(split)]
    changes = [f"{split} {_short(then.get(split))} then, {_short(now.get(split))} now" for split in splits]
    renamed = zip(classes_then, classes_now, strict=False) if not changes else ()
    changes += [f"class {old!r} then, {new!r} now" for old, new in renamed if old != new][:SHOWN]
    if changes:
        raise UserError(
            f"the images are not those that the run in {folder} began with ({'; '.join(changes)}): put the images "
            "back, or use rerun=true to train with these in a new folder"
        )


def require_no_results(folder: Path, checkpoint: Path) -> None:
    """Refuse a folder with files of a run, and neither a record nor a checkpoint that says which run they are of.

    Args:
        folder: of the run.
        checkpoint: one of an earlier version, which does not say.

    Raises:
        UserError: a file is there that the run would use or overwrite.
    """
    files = [*(folder / name for name in RESULTS), checkpoint]
    if leftovers := [str(path.relative_to(folder)) for path in files if path.exists()]:
        raise UserError(
            f"{folder} holds {', '.join(leftovers)}, and no record or checkpoint says which run they are of: move the "
            "folder away, or use rerun=true to train in a new one"
        )


def results_to_repair(folder: Path, record: Record) -> list[str]:
    """Return the names of a completed run's results that its command writes again from the checkpoint.

    They are damaged, or absent beside a checkpoint: without one they were deleted to save room. Reads all of them.

    Args:
        folder: of the run.
        record: of the run.
    """
    repaired = {FileState.DAMAGED}
    if (folder / "checkpoints" / "last.pt").exists():
        repaired.add(FileState.ABSENT)
    names = [name for name in record.files if file_state(folder, record, name) in repaired]
    if record.metrics.get("test_accuracy") is None:
        names.append("record.json (it has no test accuracy)")
    return names


def _refusal(holder: str, their_id: str, theirs: Mapping[str, Any], run_id: str, config: Mapping[str, Any]) -> str:
    keys = differences(theirs, identity.identity_config(config))
    texts = [
        f"{one.key} ({format_value(one.a, 'absent')} there, {format_value(one.b, 'absent')} here)"
        for one in keys[:SHOWN]
    ]
    texts += [f"{len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
    why = f"they differ in {', '.join(texts)}" if texts else "another version of wrnexp named it"
    return printable(f"{holder} run {their_id}, this is run {run_id}: {why}; {OTHER_FOLDER}")  # one line


def _resumes_rerun(record: Record) -> bool:
    """True for a rerun that was interrupted: a scheduler that requeues a job gives the same command and folder."""
    return record.config.get("rerun") is True and record.status != "completed"


def _has_trained(folder: Path, record: Record) -> bool:
    """True if there is something to lose: a folder of a run that failed before its first epoch may be used again."""
    checkpoints = folder / "checkpoints"
    saved = checkpoints.is_dir() and any(checkpoints.iterdir())
    trained = record.status == "completed" or record.cost.steps > 0 or record.divergence is not None
    return saved or trained or (folder / "metrics.jsonl").exists()


def _short(digest: str | None) -> str:
    return "absent" if digest is None else digest[:8]
