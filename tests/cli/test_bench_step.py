"""`wrnexp bench step`: three figures, each of both sides, and what the sides compute."""

import json
from pathlib import Path

import pytest
import torch

from wrnexp import cli
from wrnexp.cli.bench.step import CLASSES, _Bench, _matrix_product
from wrnexp.models import WideResNet, multiply_adds, parameter_count
from wrnexp.provenance import usable_cores


@pytest.fixture
def bench() -> _Bench:
    return _Bench("small", torch.randn(4, 3, 32, 32), torch.randint(CLASSES, (4,)), steps=1)


def test_three_figures_of_both_sides_in_the_table_and_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "step.json"
    small = ["--model", "small", "--batch", "8", "--rounds", "1", "--loop-rounds", "1", "--device", "cpu"]
    assert cli.main(["bench", "step", *small, "--json", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert [figure["unit"] for figure in figures] == ["images/s", "GFLOP/s", "images/s"]
    for figure in figures:
        assert set(figure) == {"name", "value", "unit", "reference", "ratio"}
        assert figure["name"].startswith("WRN-10-1, batch 8 (cpu, ")
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["reference"])
    assert "WRN-10-1, batch 8" in capsys.readouterr().out


def test_the_plain_net_of_the_benchmark_is_the_same_net() -> None:
    from wrnexp.cli.bench.plain import PlainWideResNet

    ours, plain = WideResNet(16, 2, 0.3, 0.1, num_classes=10), PlainWideResNet(16, 2, 0.3, 0.1, num_classes=10)
    assert parameter_count(ours) == parameter_count(plain)
    assert multiply_adds(ours, 32) == multiply_adds(plain, 32)


def test_the_bare_side_takes_the_steps_that_the_epoch_takes(bench: _Bench) -> None:
    torch.manual_seed(0)
    one = bench.trainer("cpu", "fp32")
    torch.manual_seed(0)
    other = bench.trainer("cpu", "fp32")
    one.train_epoch(0)
    other.step.model.train()
    for group in other.step.optimizer.param_groups:
        group["lr"] = one.step.optimizer.param_groups[0]["lr"]
    assert bench.bare(other)() > 0
    state = other.step.model.state_dict()
    assert int(state["norm.num_batches_tracked"]) == bench.steps
    for name, value in one.step.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_the_matrix_product_is_timed_in_the_precision_of_the_step(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def mm(left: torch.Tensor, right: torch.Tensor, *, out: torch.Tensor) -> None:
        seen.add((left.dtype, right.dtype, out.dtype, tuple(left.shape)))

    trainers = {
        dtype: bench.trainer("cpu", name) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    monkeypatch.setattr(torch, "mm", mm)
    for dtype, trainer in trainers.items():
        seen.clear()
        assert _matrix_product(trainer)() > 0
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
