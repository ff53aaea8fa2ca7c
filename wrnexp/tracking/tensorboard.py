"""TensorBoard: event files in the run's folder, a mirror of its rows, pictures and final figures.

The events are appended to their file as they come, without `SummaryWriter`: its thread prints a traceback of its own
where a disk is full, and its files hold back what a killed process had not flushed.
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
}  # of a row's columns; the others, which are of speed and memory, are under `speed`
RECIPE = ("model", "augment", "optim", "loader")  # groups of the config that become hyperparameters


class TensorBoard(Sink):
    """The event files of one run, in `tensorboard/` of its folder, a sink; the step of all is the epoch.

    Args:
        record: of the run; its config is shown as text.
        plan: not used; every sink is given it.
        shared: not used.
        folder: of the run.

    Raises:
        OSError: the folder cannot be read or written.
    """

    def __init__(self, *, record: Record, plan: TrainingPlan, shared: Path, folder: Path) -> None:
        folder = folder / "tensorboard"
        self._told, self._pictures = _kept(folder)
        self._file = EventFile(folder)
        self._file.append([] if self._told or self._pictures else [(0, text("config", _as_text(record.config)))])

    def on_resume(self, record: Record, rows: Sequence[Row]) -> None:
        """Write the epochs of earlier processes that the files lack, and withdraw what goes beyond them."""
        self._mirror(rows, rows[-1]["epoch"] + 1)

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Write an epoch, and those before it that the files lack."""
        self._mirror(rows, rows[-1]["epoch"])

    def on_media(self, record: Record, folder: Path) -> None:
        """Write the pictures that the files lack, as they are."""
        step, events = max(self._told, default=0), []
        for picture in pictures(folder):
            data = picture.path.read_bytes()
            if self._pictures.get(picture.name) != data:
                self._pictures[picture.name] = data
                events.append((step, _image(picture.name, data)))
        self._file.append(events)

    def on_run_end(self, record: Record) -> None:
        """Write the recipe beside the final figures of a completed run, for TensorBoard's table of hyperparameters."""
        if record.status == "completed":
            step = max(self._told, default=0)
            final = {f"final/{name}": value for name, value in record.metrics.items() if value is not None}
            figures = [scalar(tag, value) for tag, value in final.items()]
            # Not the first, which lists settings and metrics: of a folder of runs TensorBoard takes one run's list for
            # all. Without any it puts together what the runs have.
            _, *session = hparams(_recipe(record), final)
            self._file.append((step, one) for one in (*session, *figures))

    def _mirror(self, rows: Sequence[Row], new: int) -> None:
        """Write what is missing of `rows`; of epochs from `new` on, what the files have is of a run that is no more."""
        epochs = [row["epoch"] for row in rows]
        first = next((epoch for epoch in epochs if epoch >= new or epoch not in self._told), new)
        if max(self._told, default=0) >= first:
            self._file.withdraw(first)
        self._file.append((row["epoch"], one) for row in rows if row["epoch"] >= first for one in _scalars(row))
        self._told = set(epochs)


class EventFile:
    """An event file in `folder`, opened for each append only; of a name after those that are there.

    Args:
        folder: made where it is absent.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = len(list(folder.glob("*tfevents*")))
        # TensorBoard reads the files of a folder in the order of their names.
        self._path = folder / f"events.out.tfevents.{earlier:04d}.{time.time_ns()}"
        self._write([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def append(self, summaries: Any) -> None:
        """Write summaries, each given with its step.

        Args:
            summaries: an iterable of (step, `Summary`).
        """
        now = time.time()
        self._write([Event(wall_time=now, step=step, summary=summary) for step, summary in summaries])

    def withdraw(self, step: int) -> None:
        """Let readers forget what was written of `step` and later ones, in this file and those before it."""
        self._write([Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))])

    def _write(self, events: Sequence[Event]) -> None:
        buffer = BytesIO()
        records = RecordWriter(buffer)
        for event in events:
            records.write(event.SerializeToString())
        with self._path.open("ab") as file:
            file.write(buffer.getvalue())


def _kept(folder: Path) -> tuple[set[int], dict[str, bytes]]:
    """Return what the event files of a folder show: the epochs, and the pictures by tag."""
    if not folder.is_dir():
        return set(), {}
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0, IMAGES: 1}).Reload()
    tags = events.Tags()
    epochs = {scalar.step for scalar in events.Scalars("loss/train")} if "loss/train" in tags["scalars"] else set()
    return epochs, {tag: events.Images(tag)[-1].encoded_image_string for tag in tags["images"]}


def _scalars(row: Row) -> list[Summary]:
    """Return a row's figures; what was not measured is left out."""
    figures = {name: value for name, value in row.items() if name != "epoch" and value is not None}
    return [scalar(TAGS.get(name, f"speed/{name}"), value) for name, value in figures.items()]


def _image(tag: str, data: bytes) -> Summary:
    with Image.open(BytesIO(data)) as image:
        width, height = image.size
    shown = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
    return Summary(value=[Summary.Value(tag=tag, image=shown)])


def _as_text(config: Mapping[str, Any]) -> str:
    """Return the config in Markdown, which TensorBoard renders; no text in it ends the block."""
    settings = yaml.safe_dump(dict(config), sort_keys=False)
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", settings))]))
    return f"{fence}yaml\n{settings}{fence}"


def _recipe(record: Record) -> dict[str, bool | int | float | str]:
    """Return the recipe's keys and the seed; what is no number and no switch as text, null left out."""
    found = {group: record.config.get(group, {}) for group in RECIPE} | {"seed": record.seed, "label": record.label}
    flat = dict(_flat(found))
    known = {key: value for key, value in flat.items() if value is not None}
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in known.items()}


def _flat(node: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested settings with dotted names, Hydra's own keys left out."""
    leaves: list[tuple[str, Any]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            leaves += _flat(value, f"{before}{key}.")
        elif not key.startswith("_"):
            leaves.append((before + key, value))
    return leaves
