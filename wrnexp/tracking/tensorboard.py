"""TensorBoard: event files in the run's folder with its metrics, pictures and final results.

Events are appended without `SummaryWriter`: its thread prints a traceback when the disk is full, and a killed process
loses what it has not flushed.
"""

import re
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import RecordWriter
from torch.utils.tensorboard.summary import hparams, scalar, text

from wrnexp.runs.journal import Row, Sink, TrainingPlan
from wrnexp.runs.media import pictures
from wrnexp.runs.record import Record

TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "test_loss": "loss/test",
    "val_accuracy": "accuracy/val",
    "test_accuracy": "accuracy/test",
    "lr": "optim/lr",
    "grad_norm": "optim/grad_norm",
    "clipped": "optim/clipped",
    "step": "optim/step",
}  # tags of the columns of metrics.jsonl; the others, on speed and memory, get the prefix `speed/`
RECIPE = ("model", "augment", "optim", "loader")  # config groups logged as hyperparameters


class TensorBoard(Sink):
    """Sink that writes event files into `tensorboard/` of the run's folder; their step is the epoch.

    Raises:
        OSError: the folder cannot be read or written.
    """

    def __init__(self, *, record: Record, plan: TrainingPlan, shared: Path, folder: Path) -> None:
        folder = folder / "tensorboard"
        self._logged_epochs, self._pictures = _read_events(folder)
        self._file = EventFile(folder)
        if not self._logged_epochs and not self._pictures:
            self._file.append([(0, text("config", _as_text(record.config)))])

    def on_resume(self, record: Record, rows: Sequence[Row]) -> None:
        """Write the epochs of earlier processes that the files lack, and discard later ones."""
        self._mirror(rows, rows[-1]["epoch"] + 1)

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Write the latest epoch and any earlier ones that the files lack."""
        self._mirror(rows, rows[-1]["epoch"])

    def on_media(self, record: Record, folder: Path) -> None:
        """Write new and changed pictures, as the PNG files that they are."""
        step, events = max(self._logged_epochs, default=0), []
        for picture in pictures(folder):
            data = picture.path.read_bytes()
            if self._pictures.get(picture.name) != data:
                self._pictures[picture.name] = data
                events.append((step, _image(picture.name, data)))
        self._file.append(events)

    def on_run_end(self, record: Record) -> None:
        """Write the recipe and the final metrics of a completed run, for TensorBoard's HPARAMS tab."""
        if record.status == "completed":
            step = max(self._logged_epochs, default=0)
            final = {f"final/{name}": value for name, value in record.metrics.items() if value is not None}
            figures = [scalar(tag, value) for tag, value in final.items()]
            # Drop the first summary, which lists settings and metrics: for a folder of runs TensorBoard would use one
            # run's list for all. Without it, TensorBoard takes the union over the runs.
            _, *session = hparams(_recipe(record), final)
            self._file.append((step, summary) for summary in (*session, *figures))

    def _mirror(self, rows: Sequence[Row], new: int) -> None:
        """Write missing `rows`; discard logged epochs from `new` on, which an interrupted process trained."""
        epochs = [row["epoch"] for row in rows]
        first = next((epoch for epoch in epochs if epoch >= new or epoch not in self._logged_epochs), new)
        if max(self._logged_epochs, default=0) >= first:
            self._file.discard_from(first)
        self._file.append((row["epoch"], summary) for row in rows if row["epoch"] >= first for summary in _scalars(row))
        self._logged_epochs = set(epochs)


class EventFile:
    """A new event file in `folder`, opened only while appending; its name sorts after those of earlier files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = len(list(folder.glob("*tfevents*")))
        # TensorBoard reads the files of a folder in alphabetical order.
        self._path = folder / f"events.out.tfevents.{earlier:04d}.{time.time_ns()}"
        self._write([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def append(self, summaries: Any) -> None:
        """Write summaries, an iterable of (step, `Summary`)."""
        now = time.time()
        self._write([Event(wall_time=now, step=step, summary=summary) for step, summary in summaries])

    def discard_from(self, step: int) -> None:
        """Tell readers to discard all events of `step` and later, in this file and earlier ones."""
        self._write([Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))])

    def _write(self, events: Sequence[Event]) -> None:
        buffer = BytesIO()
        records = RecordWriter(buffer)
        for event in events:
            records.write(event.SerializeToString())
        with self._path.open("ab") as file:
            file.write(buffer.getvalue())


def _read_events(folder: Path) -> tuple[set[int], dict[str, bytes]]:
    """Return the epochs and the pictures by tag that the event files of a folder hold."""
    if not folder.is_dir():
        return set(), {}
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0, IMAGES: 1}).Reload()
    tags = events.Tags()
    epochs = {scalar.step for scalar in events.Scalars("loss/train")} if "loss/train" in tags["scalars"] else set()
    return epochs, {tag: events.Images(tag)[-1].encoded_image_string for tag in tags["images"]}


def _scalars(row: Row) -> list[Summary]:
    figures = {name: value for name, value in row.items() if name != "epoch" and value is not None}
    return [scalar(TAGS.get(name, f"speed/{name}"), value) for name, value in figures.items()]


def _image(tag: str, data: bytes) -> Summary:
    with Image.open(BytesIO(data)) as image:
        width, height = image.size
    encoded = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
    return Summary(value=[Summary.Value(tag=tag, image=encoded)])


def _as_text(config: Mapping[str, Any]) -> str:
    """Return the config as a fenced Markdown block, with a fence longer than any run of backticks in it."""
    settings = yaml.safe_dump(dict(config), sort_keys=False)
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", settings))]))
    return f"{fence}yaml\n{settings}{fence}"


def _recipe(record: Record) -> dict[str, bool | int | float | str]:
    """Return the recipe's settings, the seed and the label by dotted key; null is left out."""
    settings = {group: record.config.get(group, {}) for group in RECIPE} | {"seed": record.seed, "label": record.label}
    leaves = [(key, value) for key, value in _flatten(settings) if value is not None]
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in leaves}


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested settings with dotted keys, without Hydra's keys such as `_target_`."""
    leaves: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            leaves += _flatten(value, f"{prefix}{key}.")
        elif not key.startswith("_"):
            leaves.append((prefix + key, value))
    return leaves
