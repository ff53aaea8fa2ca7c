"""`wrnexp doctor`: what this machine has, what a run would use, and what is in the way."""

import argparse
import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from wrnexp.process.packages import is_installed, missing_message
from wrnexp.process.terminal import Terminal, safe_text
from wrnexp.runs import provenance
from wrnexp.runs.cache import cache_folder

if TYPE_CHECKING:
    from wrnexp.engine import Hardware

# Floating-point operations of one image, forward and backward, 6 a multiply-add.
TRAIN_FLOP = {"WRN-16-8": 9.29e9, "WRN-28-10": 31.5e9}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser("doctor", help="what this machine has and what a run would use")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table of findings; return 1 where a run could not start."""
    findings = [_python(), *_packages(), _disk(Path.cwd()), _wandb()]
    table = Table("", "what", "finding", show_edge=False)
    for good, what, text in findings:
        table.add_row(Text("ok", "green") if good else Text("no", "red"), what, safe_text(text))
    Terminal().print(table)
    return 0 if all(good for good, _, _ in findings) else 1


Finding = tuple[bool, str, str]


def _python() -> Finding:
    return (3, 11) <= sys.version_info[:2] < (3, 14), "Python", f"{sys.version.split()[0]} (3.11 to 3.13 work)"


def _packages() -> list[Finding]:
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:  # a torchvision that was built for another torch
        return [(False, "torch", f"{str(error).splitlines()[0]}: install torch and torchvision as a pair")]
    from wrnexp.engine import Hardware

    hardware = Hardware.settle()
    kinds = [
        hardware.precision,
        *(["channels_last"] if hardware.channels_last else []),
        *(["compile"] if hardware.compile else []),
    ]
    versions = provenance.collect(Path(__file__).parent)
    return [
        (True, "torch", f"{versions['torch']}, torchvision {versions['torchvision']}"),
        (True, "device", f"{hardware.device} ({hardware.name})"),
        (True, "a run uses", ", ".join(kinds)),
        (True, "CUDA graphs", _graphs(hardware)),
        (True, "compiled kernels", _kernels(hardware)),
        (True, "matrix peak", _peak(hardware)),
        (True, "cores", f"{provenance.usable_cores()} for this process, of {os.cpu_count()}"),
    ]


def _graphs(hardware: "Hardware") -> str:
    from wrnexp.engine.compiling import LAUNCH_BOUND_FLOP

    if hardware.device.type != "cuda":
        return f"none: {hardware.device.type} has none (trainer.cuda_graphs)"
    images = ", ".join(f"{name} below {LAUNCH_BOUND_FLOP / flop:,.0f}" for name, flop in TRAIN_FLOP.items())
    return f"where a micro-batch is small, in images: {images}; trainer.cuda_graphs=true or false overrides"


def _kernels(hardware: "Hardware") -> str:
    if not hardware.compile:
        return "none: eager is faster here (trainer.compile)"
    return f"kept in {os.environ.get('TORCHINDUCTOR_CACHE_DIR') or cache_folder() / 'kernels'}"


def _peak(hardware: "Hardware") -> str:
    if (peak := hardware.peak_flops) is None:
        return "not known for this device: records have no flops_utilization (wrnexp bench step measures it)"
    return f"{peak / 1e12:,.0f} TFLOP/s in {hardware.precision}, as its maker states it"


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    return free >= 1, "disk", f"{free:,.1f} GiB free in {folder} (checkpoints of WRN-28-10 take 0.3 GiB a run)"


def _wandb() -> Finding:
    from wrnexp.tracking.wandb import resolve_mode

    if not is_installed("wandb"):
        return True, "W&B", missing_message("showing runs there", "wandb")
    return True, "W&B", f"mode auto is {resolve_mode('auto')} here"
