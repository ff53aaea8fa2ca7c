"""CUDA without a GPU: training's own code on fake tensors, which have a device, a type and a shape but no data.

Operations on tensors of two devices raise, and so does whatever reads a number. Fake tensors lack a few things; for
these alone there are stand-ins, each with its reason below.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

CUDA = torch.device("cuda", 0)
Graph = torch.fx.GraphModule


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Yield the mode of fake tensors; tensors from outside it, on the CPU, may be sent to `cuda` in it."""
    with pytest.MonkeyPatch.context() as patch:
        # Fake tensors know no page-locked memory, and only a device has streams. Neither changes a value.
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(Tensor, "record_stream", lambda tensor, stream: None)
        patch.setattr(torch.cuda, "Stream", Stream)
        patch.setattr(torch.cuda, "current_stream", Stream)
        patch.setattr(torch.cuda, "stream", nullcontext)
        # torch.autocast("cuda") does nothing where no GPU is seen.
        patch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
        patch.setattr(torch, "_fused_sgd_", fused_sgd)
        patch.setattr(Tensor, "backward", backward)
        with warnings.catch_warnings():
            # copy.deepcopy asks each tensor for its address before it copies.
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor", UserWarning)
            yield FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def recorded_graphs(then: Callable[..., Any] = lambda graph, inputs: graph.forward) -> Iterator[list[Graph]]:
    """Let `then` compile what Inductor would compile, and yield the list that the graphs are added to."""
    graphs: list[Graph] = []

    def record(graph: Graph, inputs: list[Tensor], **options: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return then(graph, inputs)  # type: ignore[no-any-return]

    torch.compiler.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch._inductor.compile_fx.compile_fx", record)
        yield graphs
    torch.compiler.reset()


class Stream:
    """A stream that orders nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wait_stream(self, other: "Stream") -> None:
        """Return at once."""


def fused_sgd(*lists: list[Tensor], **options: Any) -> None:
    """Check devices and shapes, for the fused kernel has no fake form."""
    parameters, gradients, momenta = lists
    for tensors in zip(parameters, gradients, momenta, strict=True):
        assert {(tensor.device, tensor.shape) for tensor in tensors} == {(CUDA, tensors[0].shape)}


def backward(loss: Tensor) -> None:
    """Give every parameter that `loss` depends on a gradient, for autograd's engine asks a device for its streams."""
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(parameter := getattr(node, "variable", None), Tensor):
            parameter.grad = torch.zeros_like(parameter)
        nodes += [following for following, _ in node.next_functions]
