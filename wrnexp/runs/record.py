"""A run's record on disk: `record.json` and `metrics.jsonl`, written so that a kill at any moment leaves a whole file.

The record is the truth about a run: the console, W&B and the report all come from it. Reading needs no torch.
"""

import errno
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from wrnexp.runs.files import read_regular
from wrnexp.runs.strict_json import finite, loads

SCHEMA_VERSION = 1
TIME_TO = ("0.50", "0.60", "0.70", "0.75", "0.80")

# Columns of metrics.jsonl that are measured: two equal runs differ in them alone.
MEASURED = (
    "seconds", "images_per_second", "data_wait", "peak_memory_bytes", "evaluation_seconds", "checkpoint_seconds",
)  # fmt: skip

Status = Literal["running", "completed", "failed", "interrupted"]
Number = Annotated[float, Strict()]  # neither `true` nor `"0.7"`
Count = Annotated[int, Strict()]


class RecordError(ValueError):
    """A record that cannot be used: truncated, of a newer schema, or with impossible values."""


class NewerRecordError(RecordError):
    """A record of a newer schema: not damaged, and never to be overwritten."""


class _Part(BaseModel):
    # Fields added by later versions of the same schema are kept, not refused.
    model_config = ConfigDict(extra="allow", validate_assignment=True, allow_inf_nan=False)


P = TypeVar("P", bound=_Part)


class Cost(_Part):
    """What the run cost, all its processes together.

    `start_seconds` lead to the first step, from when a process begins to work on the run (its imports done): data,
    model, loader, worker processes. `compile_seconds` compile the network and the augmentation and let a GPU choose its
    algorithms. `train_seconds` are training alone: the epochs without evaluations (`evaluation_seconds`) and what
    training waited for checkpoints (`checkpoint_seconds`). Where `start_seconds` is null an earlier version trained the
    run or a part of it, whose `train_seconds` include start and compilation. `images_per_second` is the median epoch's.
    `data_wait` is the share of `train_seconds` spent waiting for data, 0..1;
    `flops_utilization` that of the device's stated matrix peak, 0..1, null where the peak is not known; `verdict` says
    what bounded the run.
    """

    parameters: Count | None = None
    macs_per_image: Count | None = None
    steps: Count = 0
    images: Count = 0
    start_seconds: Number | None = None
    compile_seconds: Number | None = None
    train_seconds: Number = Field(default=0.0, ge=0)
    evaluation_seconds: Number | None = None
    checkpoint_seconds: Number | None = None
    images_per_second: Number | None = None
    peak_memory_bytes: Count | None = None
    flops_utilization: Number | None = None
    data_wait: Number | None = None
    verdict: str | None = None


class Signature(_Part):
    """What the network takes and gives, so that it can be used where the data set is not.

    `classes` are the names, in the order of the logits; `mean` and `std` of R, G, B, in 0..1, normalise the images;
    `image_size` is pixels a side.
    """

    classes: list[str]
    mean: tuple[Number, Number, Number]
    std: tuple[Number, Number, Number]
    image_size: Count


class DataInfo(_Part):
    """The data set: its name, the content digest of each whole split, and how many images of each were used.

    Records of early versions have no `signature`.
    """

    name: str
    digest: dict[str, str]
    signature: Signature | None = None
    train: Count
    val: Count
    test: Count


class Divergence(_Part):
    """A step at which training diverged, or where that was noticed.

    `step` counts optimizer steps of the whole run from 1. `grad_norm` is the global norm before clipping and `loss` the
    mean per image of the step; null where it is not finite. `action` is `stop`, `skip` or `rollback`.
    """

    step: int
    lr: float
    grad_norm: float | None
    loss: float | None
    action: str = "stop"


class Record(_Part):
    """The contents of record.json; accuracies are in 0..1.

    `divergence` is null unless training diverged: such a run is `failed`. `recoveries` are steps that diverged and that
    training recovered from (`trainer.on_divergence`), the first 100. `files` maps the name of each file of the folder
    that is read again to the SHA-256 of its content, in hexadecimal.
    """

    schema_version: Count = SCHEMA_VERSION
    status: Status = "running"
    error: str | None = None
    divergence: Divergence | None = None
    recoveries: list[Divergence] = Field(default_factory=list)
    run_id: str
    arm_id: str
    label: str
    sweep: str | None = None
    seed: Count
    overrides: list[str] = Field(default_factory=list)
    config: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Number | None] = Field(default_factory=dict)
    cost: Cost = Field(default_factory=Cost)
    time_to: dict[str, Number | None] = Field(default_factory=lambda: dict.fromkeys(TIME_TO))
    test_looks: Count = 0
    data: DataInfo | None = None
    files: dict[str, str] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)


class CorruptionFigures(_Part):
    """Accuracies on corrupted copies of the test images, in 0..1: a list a corruption, severity 1 first.

    `mean_error` is the unweighted mean of 1 - accuracy over the 15 corruptions of the benchmark and all severities,
    `mean_error_all` the same over all 19; null where one of them is absent. `images` is of each severity.
    """

    name: str
    images: Count
    accuracy: dict[str, list[Number]]
    mean_error: Number | None
    mean_error_all: Number | None


class LaterEvaluation(_Part):
    """An evaluation of a completed run, made after it: an entry of evaluations.json; accuracies are in 0..1.

    `test_looks` is how often it read the test set, beyond the record's `test_looks`. `metrics` are of the weights as
    they are, `mirrored` of the mean over each image and its mirror image.
    """

    test_looks: Count = 1
    metrics: dict[str, Number | None]
    equal_to_record: bool
    mirrored: dict[str, Number | None] | None = None
    corruptions: CorruptionFigures | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)


class Evaluations(_Part):
    """The contents of evaluations.json, oldest first."""

    schema_version: Count = SCHEMA_VERSION
    run_id: str
    evaluations: list[LaterEvaluation] = Field(default_factory=list)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and rename: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:  # with the permissions that the umask leaves
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; numbers that are not finite become null."""
    write_atomic(path, (json.dumps(finite(value), indent=2, allow_nan=False) + "\n").encode())


def write_record(folder: Path, record: Record) -> None:
    """Write `folder/record.json` atomically."""
    write_json(folder / "record.json", record.model_dump(mode="json"))


def read_record(folder: Path) -> Record:
    """Read `folder/record.json`.

    Raises:
        FileNotFoundError: there is none.
        RecordError: it cannot be used; the message says why, in one line.
    """
    return _read(folder / "record.json", Record)


def read_evaluations(folder: Path) -> list[LaterEvaluation]:
    """Read `folder/evaluations.json`, oldest first; an absent file is an empty list.

    Raises:
        RecordError: it cannot be used; the message says why, in one line.
    """
    try:
        return _read(folder / "evaluations.json", Evaluations).evaluations
    except FileNotFoundError:
        return []


def add_evaluation(folder: Path, run_id: str, one: LaterEvaluation) -> None:
    """Append to `folder/evaluations.json`, atomically; whoever calls holds the folder against other processes.

    Raises:
        RecordError: the file that is there cannot be used; it is left as it is.
    """
    kept = Evaluations(run_id=run_id, evaluations=[*read_evaluations(folder), one])
    write_json(folder / "evaluations.json", kept.model_dump(mode="json"))


def _read(path: Path, kind: type[P]) -> P:
    try:
        raw = loads(read_regular(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):  # there can be no such file
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
        raise RecordError(f"it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RecordError(f"not valid JSON ({error})") from error
    if not isinstance(raw, dict):
        raise RecordError("not a record: the file holds no JSON object")
    if isinstance(version := raw.get("schema_version"), int) and version > SCHEMA_VERSION:
        raise NewerRecordError(f"schema version {version} is newer than this program's {SCHEMA_VERSION}")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordError(f"{where}: {first['msg']}") from error


def find_record(folder: Path) -> Record | None:
    """Read `folder/record.json`; None where there is none, or none that can be used."""
    try:
        return read_record(folder)
    except (FileNotFoundError, RecordError):
        return None


def record_folders(top: Path) -> Iterator[Path]:
    """Yield `top` and each folder below it that has a record, hidden ones and `wandb` below it passed over."""
    for folder, below, files in os.walk(top):
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "wandb")
        if "record.json" in files or "record.json" in below:  # a folder of that name is a damaged record
            yield Path(folder)


def write_metrics(folder: Path, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Write `folder/metrics.jsonl`, one line per epoch, atomically; return its content."""
    data = "".join(json.dumps(finite(dict(row)), allow_nan=False) + "\n" for row in rows).encode()
    write_atomic(folder / "metrics.jsonl", data)
    return data


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read `folder/metrics.jsonl` up to the first line that is not whole or has no `epoch`; no file is no lines."""
    try:
        lines = read_regular(folder / "metrics.jsonl").splitlines()
    except OSError:
        return []
    rows: list[dict[str, Any]] = []
    for line in lines:
        try:
            row = loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or type(row.get("epoch")) is not int:
            break
        rows.append(row)
    return rows
