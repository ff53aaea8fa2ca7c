"""The device and the arithmetic of a run, settled once: what was `auto` or null becomes what is faster there."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from wrnexp.engine.compiling import kernels_kept, launch_bound
from wrnexp.engine.peaks import peak_flops
from wrnexp.errors import UserError
from wrnexp.tensors import to_device

M = TypeVar("M", bound=nn.Module)

_cudnn: Callable[..., AbstractContextManager[None]] = torch.backends.cudnn.flags


@dataclass(frozen=True)
class Hardware:
    """A device with a precision and a memory format.

    Attributes:
        device: where model and batches live.
        bf16: compute convolutions and matrix products in bfloat16 under autocast; weights stay float32.
        channels_last: keep images and convolution weights in NHWC order.
        compile: run the model through torch.compile.
        cuda_graphs: replay the compiled kernels of a micro-batch as CUDA graphs.
    """

    device: torch.device
    bf16: bool
    channels_last: bool
    compile: bool
    cuda_graphs: bool = False

    @classmethod
    def settle(
        cls,
        device: str = "auto",
        precision: str = "auto",
        channels_last: bool | None = None,
        compile: bool | None = None,
        cuda_graphs: bool | None = None,
        micro_batch_flop: float | None = None,
    ) -> "Hardware":
        """Return the hardware that the trainer's keys ask for.

        Args:
            device: `auto`, `cpu`, `cuda`, `cuda:<index>` or `mps`.
            precision: `fp32`, `bf16`, or `auto`: bf16 where it is faster.
            channels_last: None is what is faster on the device, as for the two after it.
            compile: measured on CPUs, where eager is faster (docs/performance.md).
            cuda_graphs: None is `compiling.launch_bound` of the micro-batch.
            micro_batch_flop: floating-point operations of a micro-batch, forward and backward; None is unknown.

        Raises:
            UserError: the device is not there, or has no CUDA graphs.
        """
        resolved = _device(device)
        compiles = resolved.type == "cuda" if compile is None else compile
        graphs = _graphs(resolved, cuda_graphs, micro_batch_flop)
        return cls(
            device=resolved,
            bf16=_fast_bf16(resolved) if precision == "auto" else precision == "bf16",
            channels_last=resolved.type in ("cpu", "cuda") if channels_last is None else channels_last,
            compile=compiles,
            cuda_graphs=compiles and graphs,
        )

    @property
    def name(self) -> str:
        """The device's name for the record, for instance `NVIDIA H200` or the processor's."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{_processor()}, {torch.get_num_threads()} threads" if self.device.type == "cpu" else self.device.type

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def peak_flops(self) -> float | None:
        """The FLOP/s that a matrix product can reach here in this precision; None where that is not known."""
        return peak_flops(self.name, bf16=self.bf16) if self.device.type == "cuda" else None

    def described(self) -> dict[str, Any]:
        """Return what a run's record tells of where and how it was computed."""
        return {
            "device": self.name,
            "device_type": self.device.type,
            "precision": self.precision,
            "channels_last": self.channels_last,
            "compile": self.compile,
            "cuda_graphs": self.cuda_graphs,
            "threads": torch.get_num_threads(),
            "peak_flops": self.peak_flops,
            "slower_choices": self.slower_choices(),
        }

    def slower_choices(self) -> list[str]:
        """Return the trainer's keys that were set to what is slower here, each with the value that is faster."""
        best = Hardware.settle(str(self.device))
        keys = {
            "trainer.precision=auto": best.bf16 and not self.bf16,
            "trainer.channels_last=null": best.channels_last != self.channels_last,
            "trainer.compile=null": best.compile != self.compile,
        }
        return [key for key, slower in keys.items() if slower]

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Hold torch's global settings as training wants them, and put them back.

        On a GPU cuDNN tries its algorithms for each new shape of a convolution, and float32 is float32: torch's default
        lets convolutions round their inputs to TF32. Compiled kernels are kept on disk.
        """
        with ExitStack() as stack:
            if self.device.type == "cuda":
                deterministic = torch.backends.cudnn.deterministic
                stack.enter_context(_cudnn(enabled=True, benchmark=True, deterministic=deterministic, allow_tf32=False))
            if self.compile:
                # Every net of a sweep in one process counts against one limit of compilations, which ends the run.
                torch.compiler.reset()
                stack.enter_context(kernels_kept())
            yield

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def to_device(self, model: M) -> M:
        """Return the model on the device, in the memory format."""
        return model.to(self.device, memory_format=self._format)  # type: ignore[call-overload, no-any-return]

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch on the device; on CUDA the host does not wait for the copies."""
        images = to_device(images, self.device).to(self.device, memory_format=self._format)
        return images, to_device(labels, self.device)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def reset_peak_memory(self) -> None:
        """Reset the peak of memory."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif self.device.type == "cpu":
            _reset_resident_peak()

    def peak_memory(self) -> int | None:
        """Return the most bytes held since the reset: the allocator's on a GPU, the process's resident ones on a CPU.

        None where the platform does not tell.
        """
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _resident_peak() if self.device.type == "cpu" else None

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.preserve_format


def _device(name: str) -> torch.device:
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"trainer.device={name} is not a device; use auto, cpu, cuda, cuda:<index> or mps") from error
    if device.type == "mps" and not mps:
        raise UserError("trainer.device=mps: this machine has none; use trainer.device=auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"trainer.device={name}: torch sees {torch.cuda.device_count()} CUDA devices here; use trainer.device=auto"
        )
    return device


def _graphs(device: torch.device, asked: bool | None, micro_batch_flop: float | None) -> bool:
    if asked and device.type != "cuda":
        raise UserError(
            f"trainer.cuda_graphs=true: the device is {device}, which has none; use trainer.cuda_graphs=null"
        )
    if asked is None:
        return device.type == "cuda" and micro_batch_flop is not None and launch_bound(micro_batch_flop)
    return asked


def _fast_bf16(device: torch.device) -> bool:
    """Say whether the device multiplies matrices in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":  # the instructions, not emulation on top of float32
        return any(_asks(probe) for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return False


def _asks(probe: str) -> bool:
    return bool(getattr(torch.cpu, probe, lambda: False)())


def _processor() -> str:
    try:
        model_name = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        model_name = None
    return model_name[1].strip() if model_name else "CPU"


def _reset_resident_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again from the present size
    except OSError:
        return


def _resident_peak() -> int | None:
    try:
        peak = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(peak[1]) * 1024 if peak else None
