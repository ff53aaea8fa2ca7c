"""`wrnexp bench profile`: where the time of a training step goes, by torch's profiler.

Images/s without the profiler against with it; FLOP/s against the matrix peak (the one that a known GPU's maker states,
else that of a measured product); all kernels together; and the ten that take most time, each with its calls per step.
Their reference is the time of the step under the profiler, so a ratio is the share of the step; what all kernels leave
is time in which none ran. On a CPU they are torch's operators, each without those that it calls.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wrnexp.cli.bench import Figure, positive
from wrnexp.cli.bench.training import NETS, SyntheticTraining, matrix_product
from wrnexp.errors import UserError

if TYPE_CHECKING:
    from torch.autograd.profiler_util import EventList
    from torch.profiler import profile

MOST_EXPENSIVE = 10
TRACED_STEPS = 2  # in the trace file: a step has thousands of events, and one is like the other


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("profile", help="the most expensive kernels of a training step", description=__doc__)
    parser.add_argument("--model", choices=sorted(NETS), default="light", help="the net (default: light, WRN-16-8)")
    parser.add_argument("--batch", type=positive, help="images in a batch (default: 64, on a GPU its recipe's)")
    parser.add_argument("--steps", type=positive, default=20, help="steps to profile (default: 20)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="(default: auto)")
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help=f"write {TRACED_STEPS} steps as a Chrome trace, which ui.perfetto.dev opens; smaller as FILE.json.gz",
    )
    return parser


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Yield compilation, images/s, the share of the peak, all kernels, and the most expensive ones."""
    training = SyntheticTraining(args.model, args.batch, args.device, args.precision)
    with training.hardware.settings():
        yield from training.compilation()
        epoch = training.epoch(1)
        _ = epoch.seconds  # warm up
        speed = epoch.rate(args.steps)
        _trace(training, args.trace)
        profiler, seconds = _profiled(training, args.steps)
        profiled = len(training.batch[1]) * args.steps / seconds
        name = f"{training.name}, without against with profiler"
        yield Figure(name, speed, "images/s", profiled, speed / profiled)
        yield _share_of_peak(training, speed)
        on_gpu = training.hardware.device.type == "cuda"
        yield from _figures(kernels(profiler.key_averages(), on_gpu=on_gpu), args.steps, seconds, on_gpu)


def _trace(training: SyntheticTraining, path: Path | None) -> None:
    """Profile a few steps, which also starts the profiler's libraries, and write them to `path` where there is one."""
    profiler, _ = _profiled(training, TRACED_STEPS)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(path))


def _profiled(training: SyntheticTraining, steps: int) -> "tuple[profile, float]":
    """Train under the profiler; return it and the seconds that the steps took."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if training.hardware.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, acc_events=True) as profiler:
        start = time.perf_counter()
        training.train(steps)
        training.hardware.synchronize()
        seconds = time.perf_counter() - start
    return profiler, seconds


@dataclass(frozen=True)
class Kernel:
    """A kernel of a GPU, or an operator of torch on a CPU.

    Attributes:
        name: of the kernel.
        seconds: that all calls took, on a CPU without the operators that they called.
        calls: how many there were.
    """

    name: str
    seconds: float
    calls: int


def kernels(events: "EventList", *, on_gpu: bool) -> list[Kernel]:
    """Return what took time, the most expensive first.

    Args:
        events: averages of a profile, one entry per name.
        on_gpu: return the kernels and copies of the GPU, else the operators on the CPU.

    Raises:
        UserError: the profiler has seen nothing of the GPU.
    """
    from torch.profiler import DeviceType

    if not on_gpu:
        ran = [Kernel(each.key, each.self_cpu_time_total / 1e6, each.count) for each in events]
    else:  # an annotation spans kernels, whose time would count twice
        on_device = [each for each in events if each.device_type == DeviceType.CUDA and not each.is_user_annotation]
        ran = [Kernel(each.key, each.self_device_time_total / 1e6, each.count) for each in on_device]
    if not ran:
        raise UserError("torch's profiler saw no kernel of the GPU; the driver may reserve profiling to administrators")
    return sorted(ran, key=lambda kernel: kernel.seconds, reverse=True)


def _figures(ran: list[Kernel], steps: int, seconds: float, on_gpu: bool) -> Iterator[Figure]:
    def figure(name: str, took: float) -> Figure:
        return Figure(name, 1e3 * took / steps, "ms per step", 1e3 * seconds / steps, took / seconds)

    yield figure("all kernels" if on_gpu else "all operators", sum(kernel.seconds for kernel in ran))
    for kernel in ran[:MOST_EXPENSIVE]:
        yield figure(f"{kernel.calls / steps:.4g} x {kernel.name}", kernel.seconds)


def _share_of_peak(training: SyntheticTraining, images_per_second: float) -> Figure:
    reached, stated = training.gflop_per_image * images_per_second, training.hardware.peak_flops
    peak = stated / 1e9 if stated else matrix_product(training.hardware).rate(1)
    name = f"{training.name}, against the {'stated' if stated else 'measured'} peak"
    return Figure(name, reached, "GFLOP/s", peak, reached / peak)
