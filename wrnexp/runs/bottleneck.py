"""What bounded a run, in one line, with what to change: a function of the record alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wrnexp.runs.record import Record

WAITED_LONG = 0.1  # share of the training time above which waiting for data is worth a change
WELL_USED = 0.4  # share of a GPU's stated peak that good code reaches on these networks


@dataclass(frozen=True)
class Use:
    """What a run trained with.

    Attributes:
        cores: processor cores that the process may use.
        gpu: the device is not the processor.
        workers: processes that load; None where the loader has none, as `loader=resident`.
        batch_size: images in a micro-batch; None where it is not known.
        accumulate: micro-batches in a step.
        slower: the trainer's keys that were set to what is slower, each with its faster value.
    """

    cores: int
    gpu: bool
    workers: int | None
    batch_size: int | None
    accumulate: int = 1
    slower: tuple[str, ...] = ()


def diagnosis(waited: float, images_per_second: float, utilization: float | None, use: Use) -> str:
    """Return what bounded a training and what to change.

    Args:
        waited: share of the training time spent waiting for data, 0..1.
        images_per_second: the speed reached.
        utilization: share of the device's matrix peak, 0..1; None where the peak is not known.
        use: what the run trained with.
    """
    if waited >= WAITED_LONG:
        return f"waited for data {waited:.0%} of the training time: {_sooner_data(use)}"
    share = "" if utilization is None else f", {utilization:.0%} of the device's matrix peak"
    return f"bound by the step: {images_per_second:,.0f} images/s{share}; {_faster_step(utilization, use)}"


def utilization(images_per_second: float, macs_per_image: int, peak_flops: float) -> float:
    """Return the share of a peak that training reaches, 0..1.

    An image takes 6 floating-point operations a multiply-add of its forward pass: two forward, four backward.
    """
    return images_per_second * 6 * macs_per_image / peak_flops


def use_of(record: Record) -> Use:
    """Return what a run trained with, as its record tells."""
    loader, optim = _group(record.config, "loader"), _group(record.config, "optim")
    found = record.provenance
    return Use(
        cores=found.get("cpus") or 1,
        gpu=found.get("device_type", "cpu") != "cpu",
        workers=None if str(loader.get("_target_")).endswith("ResidentLoader") else loader.get("workers"),
        batch_size=loader.get("batch_size"),
        accumulate=optim.get("accumulate", 1),
        slower=tuple(found.get("slower_choices", ())),
    )


def _group(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _sooner_data(use: Use) -> str:
    if use.workers is None or (use.workers == 0 and not use.gpu):
        return "the batches are made beside the steps, on the same device; a lighter augment makes them sooner"
    if use.workers == 0 or (use.gpu and use.workers < use.cores):
        return f"raise loader.workers ({use.workers} now, {_cores(use.cores)} here), or use loader=resident"
    if use.gpu:
        return f"all {_cores(use.cores)} load images already ({use.workers} workers); use loader=resident"
    return (
        f"images are loaded by the {_cores(use.cores)} that training uses; loader=resident or a lighter augment helps"
    )


def _faster_step(utilization: float | None, use: Use) -> str:
    if use.slower:
        return f"faster here: {' '.join(use.slower)}"
    if not use.gpu and use.workers:
        return f"loader=resident or loader.workers=0 would leave it the {_cores(use.cores)} ({use.workers} workers now)"
    if not use.gpu:
        return (
            f"precision and kernels are the fastest for these {_cores(use.cores)}; a GPU or a smaller model is faster"
        )
    if utilization is None or utilization >= WELL_USED or use.batch_size is None:
        return "precision and kernels are the fastest for this device; a smaller model or a faster device is faster"
    if use.accumulate > 1:
        larger = use.batch_size * use.accumulate
        return f"loader.batch_size={larger} optim.accumulate=1 would fill the device better ({use.batch_size} now)"
    return f"a larger loader.batch_size would fill the device better ({use.batch_size} now), but is another recipe"


def _cores(count: int) -> str:
    return f"{count} core" if count == 1 else f"{count} cores"
