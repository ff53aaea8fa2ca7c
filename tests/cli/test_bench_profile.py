"""`wrnexp bench profile`: figures, kernels and a trace of a real training on the CPU; a GPU's events by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.profiler_util import EventList, FunctionEvent
from torch.profiler import DeviceType

from wrnexp import cli
from wrnexp.cli.bench.profile import _share_of_peak, kernels
from wrnexp.cli.bench.training import MATRIX_ROWS, SyntheticTraining
from wrnexp.engine import Hardware
from wrnexp.errors import UserError
from wrnexp.models import WideResNet


def test_figures_operators_and_trace_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MATRIX_ROWS, "cpu", 128)
    path, trace = tmp_path / "profile.json", tmp_path / "traces" / "step.json"
    small = ["--model", "small", "--batch", "8", "--steps", "3", "--device", "cpu", "--precision", "fp32"]
    assert cli.main(["bench", "profile", *small, "--json", str(path), "--trace", str(trace)]) == 0
    speed, peak, whole, *operators = json.loads(path.read_text())
    for figure in (speed, peak, whole, *operators):
        assert set(figure) == {"name", "value", "unit", "reference", "ratio"}
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["reference"])
    assert (speed["unit"], peak["unit"], whole["unit"]) == ("images/s", "GFLOP/s", "ms per step")
    assert whole["reference"] == pytest.approx(8 * 1000 / speed["reference"])  # the step's time under the profiler

    shares = [operator["ratio"] for operator in operators]
    assert len(operators) == 10
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= whole["ratio"] <= 1
    assert {operator["reference"] for operator in operators} == {whole["reference"]}
    convolutions = sum(
        isinstance(module, nn.Conv2d) for module in WideResNet(10, 1, 0.0, 0.0, num_classes=100).modules()
    )
    assert f"{convolutions} x aten::convolution_backward" in [operator["name"] for operator in operators]

    events = json.loads(trace.read_text())["traceEvents"]
    backward = [event for event in events if event.get("name") == "aten::convolution_backward"]
    assert len(backward) == 2 * convolutions  # of two steps
    assert all(event["dur"] > 0 for event in backward)


def averages(*events: FunctionEvent) -> EventList:
    """What `profile.key_averages` returns."""
    make: Any = EventList
    listed = make(list(events), use_device="cuda")
    listed._build_tree()
    averaged: EventList = listed.key_averages()
    return averaged


def event(name: str, start: int, end: int, device: DeviceType, *, annotation: bool = False) -> FunctionEvent:
    made: Any = FunctionEvent
    result: FunctionEvent = made(
        start, name, 0, start, end, stack=[], use_device="cuda", device_type=device, is_user_annotation=annotation
    )
    return result


def test_a_gpus_kernels_are_counted_without_the_annotations_around_them() -> None:
    events = averages(
        event("aten::mm", 0, 400, DeviceType.CPU),
        event("Optimizer.step#SGD.step", 100, 900, DeviceType.CUDA, annotation=True),
        event("copy", 100, 150, DeviceType.CUDA),
        event("gemm", 150, 450, DeviceType.CUDA),
        event("gemm", 500, 700, DeviceType.CUDA),
    )
    ran = [(kernel.name, round(1e6 * kernel.seconds), kernel.calls) for kernel in kernels(events, on_gpu=True)]
    assert ran == [("gemm", 500, 2), ("copy", 50, 1)]


def test_a_gpu_whose_kernels_cannot_be_seen() -> None:
    with pytest.raises(UserError, match="saw no kernel"):
        kernels(averages(event("aten::mm", 0, 400, DeviceType.CPU)), on_gpu=True)


def test_the_peak_is_the_one_that_is_stated_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    training = SyntheticTraining("small", 4, "cpu", "fp32")
    monkeypatch.setattr(Hardware, "peak_flops", property(lambda self: 5e12))
    monkeypatch.setattr(torch, "mm", None)  # no product is needed
    figure = _share_of_peak(training, 100.0)
    assert figure.name == "WRN-10-1, batch 4 (cpu, fp32), against the stated peak"
    assert (figure.value, figure.reference) == (100 * training.gflop_per_image, 5000)
    assert figure.ratio == pytest.approx(100 * training.gflop_per_image / 5000)
