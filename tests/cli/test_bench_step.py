"""`wrnexp bench step`: three figures, each of both sides, and what the sides compute."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wrnexp import cli
from wrnexp.cli.bench import Figure
from wrnexp.cli.bench.pace import Effort
from wrnexp.cli.bench.step import bare
from wrnexp.cli.bench.training import MATRIX_ROWS, Repeated, SyntheticTraining, batch_size, matrix_product
from wrnexp.engine import Hardware
from wrnexp.models import WideResNet, multiply_adds, parameter_count
from wrnexp.runs.provenance import usable_cores

SMALL = ("--model", "small", "--batch", "8", "--device", "cpu")


@pytest.fixture
def small_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MATRIX_ROWS, "cpu", 128)


def figures(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    path = folder / "step.json"
    assert cli.main(["bench", "step", *SMALL, *arguments, "--json", str(path)]) == 0
    read: list[dict[str, Any]] = json.loads(path.read_text())
    return read


@pytest.mark.usefixtures("small_matrices")
def test_three_figures_of_both_sides_on_the_terminal_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = figures(tmp_path, "--rounds", "1", "--loop-rounds", "1")
    assert [figure["unit"] for figure in written] == ["images/s", "GFLOP/s", "images/s"]
    for figure in written:
        assert set(figure) == {"name", "value", "unit", "reference", "ratio"}
        assert figure["name"].startswith("WRN-10-1, batch 8 (cpu, ")
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["reference"])
    printed = capsys.readouterr().out
    assert all(figure["name"] in printed for figure in written)


@pytest.mark.usefixtures("small_matrices")
@pytest.mark.parametrize(
    ("arguments", "efforts"),
    [
        ((), [Effort(5, 1, 1), Effort(5, 1, 1), Effort(20, 1, 1)]),
        (("--quick",), [Effort(None, None, None)] * 3),
        (
            ("--quick", "--rounds", "1", "--loop-rounds", "3", "--steps", "20"),
            [Effort(1, 20, 20), Effort(1, 20, 20), Effort(3, 20, 20)],
        ),
    ],
)
def test_counts_that_are_given_win_over_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], efforts: list[Effort]
) -> None:
    asked: list[Effort] = []

    def compare(self: Effort, name: str, unit: str, *sides: object) -> Figure:
        asked.append(self)
        return Figure(name, 1.0, unit)

    monkeypatch.setattr(Effort, "compare", compare)
    figures(tmp_path, *arguments)
    assert asked == efforts


@pytest.mark.usefixtures("small_matrices")
def test_compilation_is_a_figure_of_its_own_and_in_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    settle, compare = Hardware.settle, Effort.compare

    def compiled(model: nn.Module, **options: object) -> Callable[[Tensor], Tensor]:
        def forward(images: Tensor) -> Tensor:
            if "compiled" not in order:
                time.sleep(0.2)
                order.append("compiled")
            logits: Tensor = model(images)
            return logits

        return forward

    def compared(self: Effort, *arguments: Any) -> Figure:
        order.append("measured")
        return compare(self, *arguments)

    monkeypatch.setattr(Hardware, "settle", lambda *given: replace(settle(*given), compile=True))
    monkeypatch.setattr("wrnexp.engine.memory.compiled", compiled)
    monkeypatch.setattr(Effort, "compare", compared)
    first, *others = figures(tmp_path, "--rounds", "1", "--loop-rounds", "1", "--precision", "fp32")
    assert first == {
        "name": "WRN-10-1, batch 8 (cpu, fp32), compilation", "value": first["value"], "unit": "s",
        "reference": None, "ratio": None,
    }  # fmt: skip
    assert first["value"] > 0.2
    assert order == ["compiled", "measured", "measured", "measured"]
    assert [figure["unit"] for figure in others] == ["images/s", "GFLOP/s", "images/s"]


def test_the_batch_is_the_recipes_on_a_gpu() -> None:
    cpu = Hardware.settle("cpu")
    gpu = replace(cpu, device=torch.device("cuda"))
    assert [batch_size(net, None, gpu) for net in ("light", "base")] == [512, 128]
    assert [batch_size("light", None, cpu), batch_size("light", 32, gpu)] == [64, 32]


def test_the_plain_net_of_the_benchmark_is_the_same_net() -> None:
    from wrnexp.cli.bench.plain import PlainWideResNet

    ours, plain = WideResNet(16, 2, 0.3, 0.1, num_classes=10), PlainWideResNet(16, 2, 0.3, 0.1, num_classes=10)
    assert parameter_count(ours) == parameter_count(plain)
    assert multiply_adds(ours, 32) == multiply_adds(plain, 32)


def test_the_bare_side_takes_the_steps_that_the_epoch_takes() -> None:
    torch.manual_seed(0)
    one = SyntheticTraining("small", 4, "cpu", "fp32")
    torch.manual_seed(0)
    other = SyntheticTraining("small", 4, "cpu", "fp32")
    one.train(1)
    optimizers = [training.trainer.step.optimizer for training in (one, other)]
    for group in optimizers[1].param_groups:
        group["lr"] = optimizers[0].param_groups[0]["lr"]
    assert bare(other).rate(1) > 0
    state = other.trainer.step.model.state_dict()
    assert int(state["norm.num_batches_tracked"]) == 1
    for name, value in one.trainer.step.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_an_epoch_has_the_steps_that_are_asked_for() -> None:
    batch = torch.zeros(3, 3, 32, 32), torch.zeros(3, dtype=torch.int64)
    repeated = Repeated(batch)
    repeated.steps = 4
    assert repeated.plan == [(3,)] * 4
    assert [images is batch[0] for images, _ in repeated.epoch(0)] == [True] * 4


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_matrix_product_is_timed_in_the_precision_of_the_step(
    monkeypatch: pytest.MonkeyPatch, precision: str, dtype: torch.dtype
) -> None:
    seen = set()

    def mm(left: Tensor, right: Tensor, *, out: Tensor) -> None:
        seen.add((left.dtype, right.dtype, out.dtype, tuple(left.shape)))

    monkeypatch.setattr(torch, "mm", mm)
    assert matrix_product(Hardware.settle("cpu", precision)).rate(1) > 0
    assert seen == {(dtype, dtype, dtype, (2048, 2048))}


@pytest.mark.slow
@pytest.mark.skipif(usable_cores() > 2 or torch.cuda.is_available(), reason="stated for 2 cores")
def test_the_step_reaches_what_the_documentation_states(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    assert cli.main(["bench", "step", "--json", str(path)]) == 0
    against_plain, of_the_peak, own_loop = (figure["ratio"] for figure in json.loads(path.read_text()))
    assert against_plain > 1.5
    assert of_the_peak >= 0.75
    assert own_loop >= 0.98
