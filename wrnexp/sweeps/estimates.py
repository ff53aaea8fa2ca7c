"""How long a run will take, from what runs on record took; nothing is extrapolated to another net or machine unsaid.

A run is timed by runs of its own arm, or by runs whose settings that bear on speed are the same. Of the machines on
record this one comes first; where only others are, the estimate says so. Reading needs no torch.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median, median_low
from typing import Any

from wrnexp.config import identity
from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.record import Record, RecordError, find_record, read_metrics, read_record, record_folders

# Keys of the groups below that do not bear on the time an epoch takes.
WITHOUT_COST = (
    "model.dropout", "model.stem_dropout", "trainer.checkpoint_seconds", "trainer.max_seconds", "data.root",
)  # fmt: skip
COSTLY = ("model", "augment", "loader", "data", "trainer")


@dataclass(frozen=True)
class Estimate:
    """How long one run takes from its start to its end.

    Attributes:
        seconds: the whole run, with evaluation and start where the records tell them.
        epochs: of the run.
        seconds_per_epoch: training alone.
        start_seconds: what `seconds` holds once per run, whatever its epochs: start and compilation.
        gpus: GPUs that the run occupies; 0 where the records are of another device.
        n: runs that the figures come from.
        basis: where they come from, in words.
    """

    seconds: float
    epochs: int
    seconds_per_epoch: float
    start_seconds: float
    gpus: int
    n: int
    basis: str

    @property
    def gpu_seconds(self) -> float | None:
        """Return seconds times GPUs, None where no GPU was measured."""
        return self.seconds * self.gpus if self.gpus else None

    def after(self, epochs: int) -> float:
        """Return the seconds that are left of the run once it has trained so many epochs."""
        left = max(0, self.epochs - epochs)
        return self.start_seconds + (self.seconds - self.start_seconds) * left / self.epochs if left else 0.0


@dataclass(frozen=True)
class Timed:
    """What one run on record took: seconds of training of each finished epoch, and of all that was not training.

    The first epoch of older versions held start and compilation: `start` is by how much it was longer than the median.
    """

    arm_id: str
    settings: Mapping[str, Any]
    host: str
    device: str
    device_type: str
    started: str
    epochs: tuple[float, ...]
    start: float | None  # until training: start and compilation; None for a run that was resumed, which has several
    beside: float | None  # evaluation, checkpoints; None for a run that is not complete or was resumed

    @property
    def epoch(self) -> float:
        """The median epoch; the first, in which older versions compiled, only where there is no other."""
        return median(self.epochs[1:] or self.epochs)


@dataclass(frozen=True)
class Measured:
    """Every run on record below some folders that finished an epoch at least."""

    runs: tuple[Timed, ...]
    host: str

    @classmethod
    def read(cls, folders: Sequence[Path]) -> "Measured":
        """Read the records and epochs in and below `folders`; what cannot be read is passed over.

        Args:
            folders: hidden ones and `wandb` below them are passed over, as are folders that do not exist.
        """
        found = {folder.resolve(): folder for top in folders for folder in record_folders(top)}
        runs = [run for folder in found.values() if (run := _timed(folder)) is not None]
        return cls(tuple(runs), platform.node())

    def here(self) -> "Measured":
        """Return the runs of this machine alone."""
        return replace(self, runs=tuple(run for run in self.runs if run.host == self.host))

    def run_seconds(self, config: Mapping[str, Any]) -> Estimate | None:
        """Return how long the run of a resolved config takes; None where no record fits.

        Runs of the same arm with the same settings of loader and trainer are taken first, then those of any arm whose
        `cost_settings` are the same, scaled by epochs, then those of the same arm with others.
        """
        arm, settings = identity.arm_id(config), cost_settings(config)
        kinds: list[tuple[str, Callable[[Timed], bool]]] = [
            ("of the same arm", lambda run: run.arm_id == arm and run.settings == settings),
            ("with the same net, data and loading", lambda run: run.settings == settings),
            ("of the same arm with another loader or memory budget", lambda run: run.arm_id == arm),
        ]
        for elsewhere in (False, True):
            for words, fits in kinds:
                fitting = [run for run in self.runs if fits(run) and (run.host != self.host) is elsewhere]
                if fitting:
                    return _estimate(_one_machine(fitting), config, words, elsewhere=elsewhere)
        return None

    def remaining_seconds(self, config: Mapping[str, Any], folder: Path) -> float | None:
        """Return the seconds that are left of the run of `config` in `folder`; None where no record fits.

        Args:
            config: resolved.
            folder: the run's; it need not exist. A complete run has 0 seconds left; another run's record counts for
                nothing.
        """
        record, estimate = find_record(folder), self.run_seconds(config)
        own = record is None or record.run_id == identity.run_id(config)
        if own and record is not None and record.status == "completed":
            return 0.0
        return None if estimate is None else estimate.after(len(read_metrics(folder)) if own else 0)


def cost_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that bear on the time an epoch takes, flat, from a resolved config.

    These are the net without its dropout rates, augmentation, loader, data, trainer, and the micro-batches a step; a
    seed, a rate of learning, smoothing or weight decay is none of them.
    """
    flat = identity.flat({group: config.get(group) for group in COSTLY})
    flat["optim.accumulate"] = _value(config, "optim", "accumulate")
    if (device := flat.get("trainer.device")) is not None:
        flat["trainer.device"] = str(device).split(":")[0]
    flat.setdefault("trainer.devices", 1)  # records of before there were several
    flat.setdefault("trainer.sync_batchnorm", True)
    of_no_matter = WITHOUT_COST if flat.get("data.name") in identity.KNOWN_CONTENT else WITHOUT_COST[:-1]
    return {key: value for key, value in flat.items() if key not in of_no_matter}


def _estimate(runs: list[Timed], config: Mapping[str, Any], words: str, *, elsewhere: bool) -> Estimate:
    epochs, epoch = int(config["optim"]["epochs"]), median(run.epoch for run in runs)
    starts = [run.start for run in runs if run.start is not None]
    start = median(starts) if starts else 0.0
    known = [run.beside / len(run.epochs) for run in runs if run.beside is not None]
    # In records of before `resumed` a run that was stopped for a night seems to have evaluated all night: of two the
    # lower counts.
    beside = median_low(known) if known else 0.0
    return Estimate(
        seconds=start + epochs * (epoch + beside),
        epochs=epochs,
        seconds_per_epoch=epoch,
        start_seconds=start,
        gpus=_gpus(config) if runs[0].device_type == "cuda" else 0,
        n=len(runs),
        basis=_basis(runs, words, epochs, elsewhere=elsewhere, whole=bool(known)),
    )


def _basis(runs: list[Timed], words: str, epochs: int, *, elsewhere: bool, whole: bool) -> str:
    count = "1 run" if len(runs) == 1 else f"median of {len(runs)} runs"
    lengths = sorted({len(run.epochs) for run in runs})
    scaled = "" if lengths == [epochs] else f", scaled from {' and '.join(map(str, lengths[:3]))} epochs to {epochs}"
    place = f" on another machine, {runs[0].host} ({runs[0].device})" if elsewhere else f" on {runs[0].device}"
    return f"{count} {words}{place}{scaled}" + ("" if whole else "; without evaluation")


def _one_machine(runs: list[Timed]) -> list[Timed]:
    """Keep the runs of the machine and device that was used last, those of a single epoch only where all are."""
    last = max(runs, key=lambda run: run.started)
    kept = [run for run in runs if (run.host, run.device) == (last.host, last.device)]
    return [run for run in kept if len(run.epochs) > 1] or kept


def _gpus(config: Mapping[str, Any]) -> int:
    devices = _value(config, "trainer", "devices")
    return devices if isinstance(devices, int) and devices > 0 else 1


def _timed(folder: Path) -> Timed | None:
    try:
        record = read_record(folder)
        if file_state(folder, record, "metrics.jsonl") is FileState.DAMAGED:
            return None
        seconds = tuple(float(row["seconds"]) for row in read_metrics(folder))
    except (RecordError, OSError, ValueError, KeyError, TypeError):
        return None
    if not seconds or min(seconds) <= 0:
        return None
    where = record.provenance
    start, measured = _start(record, seconds)
    return Timed(
        arm_id=record.arm_id,
        settings=cost_settings(record.config),
        host=str(where.get("hostname")),
        device=str(where.get("device")),
        device_type=str(where.get("device_type")),
        started=str(where.get("started") or ""),
        epochs=seconds,
        start=start,
        beside=_beside(record, sum(seconds) + measured),
    )


def _start(record: Record, epochs: Sequence[float]) -> tuple[float | None, float]:
    """Return the seconds of one start, and the seconds of all starts that are not in `epochs`."""
    cost = record.cost
    if cost.start_seconds is None:
        return max(0.0, epochs[0] - median(epochs[1:] or epochs)), 0.0
    seconds = cost.start_seconds + (cost.compile_seconds or 0.0)
    return None if "resumed" in record.provenance else seconds, seconds


def _beside(record: Record, trained: float) -> float | None:
    """Return the seconds of a complete run beyond start and training; None where its times do not tell.

    A run that was resumed lay idle in between, for an unknown time.
    """
    times = [record.provenance.get(key) for key in ("started", "finished")]
    if record.status != "completed" or "resumed" in record.provenance or not all(isinstance(t, str) for t in times):
        return None
    try:
        started, finished = (datetime.fromisoformat(str(time)) for time in times)
        return max(0.0, (finished - started).total_seconds() - trained)
    except (ValueError, TypeError):
        return None


def _value(config: Mapping[str, Any], group: str, key: str) -> Any:
    node = config.get(group)
    return node.get(key) if isinstance(node, Mapping) else None
