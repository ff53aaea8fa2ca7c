"""On what claims were measured."""

from collections.abc import Sequence
from typing import Literal

from wrnexp.report.arms import Arm
from wrnexp.report.format import count, listed
from wrnexp.report.measures import Run, times_include_start

ELSEWHERE = "not the setting of the claims (CIFAR-100 in full on a GPU)"
CIFAR100_SIZES = (50_000, 10_000)


def scope(arms: Sequence[Arm], setting: Literal["cifar100"] | None) -> str:
    """Return data, epochs and devices of the arms' runs, with a mark where that is not the setting of the claims."""
    runs = [run for arm in arms for run in arm.runs]
    parts = [_data(runs), _epochs(arms), listed(sorted({run.device for run in runs}))]
    text = ", ".join(part for part in parts if part)
    there = all(_is_full_cifar100(run) for run in runs) and not any(run.on_cpu for run in runs)
    return text if there or setting is None else f"{ELSEWHERE}: {text}"


def devices_problem(arms: Sequence[Arm]) -> str:
    """Say so where the arms ran on different devices; else an empty text."""
    devices = sorted({run.device for arm in arms for run in arm.runs})
    return "" if len(devices) == 1 else f"the runs were made on different devices ({listed(devices)})"


def times_problem(arms: Sequence[Arm]) -> str:
    """Say so where training times of some runs include start and compilation; else an empty text."""
    kinds = {times_include_start(run) for arm in arms for run in arm.runs}
    return "" if len(kinds) == 1 else "some runs are of an earlier version, whose times include start and compilation"


def _data(runs: Sequence[Run]) -> str:
    found = [run.record.data for run in runs if run.record.data is not None]
    if not found:
        return "unknown data"
    sizes = sorted({data.train for data in found})
    return f"{found[0].name} ({listed([count(size) for size in sizes])} training images)"


def _epochs(arms: Sequence[Arm]) -> str:
    lengths = [arm.config.get("optim.epochs") for arm in arms]
    return "" if None in lengths else f"{listed([str(length) for length in lengths])} epochs"


def _is_full_cifar100(run: Run) -> bool:
    data = run.record.data
    return data is not None and (data.name, data.train, data.test) == ("cifar100", *CIFAR100_SIZES)
