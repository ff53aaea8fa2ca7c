"""Compilation: what torch is asked for, where kernels lie, and when CUDA graphs are replayed."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wrnexp.engine import Hardware, compiling
from wrnexp.engine.compiling import CACHE_VARIABLES, compiled, kernels_kept, launch_bound
from wrnexp.errors import UserError
from wrnexp.models import WideResNet

KERNELS, TRITON = CACHE_VARIABLES
GIGA = 1e9


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What torch.compile is called with."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(torch, "compile", lambda model, **options: found.update(options) or model)
    return found


@pytest.mark.parametrize(("graphs", "mode"), [(False, "default"), (True, "reduce-overhead")])
def test_our_model_is_one_graph_of_fixed_sizes(asked: dict[str, Any], graphs: bool, mode: str) -> None:
    compiled(WideResNet(10, 1, 0.0, 0.0, num_classes=5), cuda_graphs=graphs)
    assert asked == {"fullgraph": True, "dynamic": False, "mode": mode, "backend": "inductor"}


def test_a_foreign_model_may_fall_back(asked: dict[str, Any]) -> None:
    compiled(nn.Linear(2, 2), cuda_graphs=False)
    assert asked["fullgraph"] is False


def test_our_model_has_no_break_in_its_graph_and_computes_the_same() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, 1, 0.0, 0.0, num_classes=5)
    images = torch.randn(4, 3, 8, 8)
    expected = model(images)
    whole = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(whole(images), expected)


def test_kernels_lie_in_the_cache_while_inside_and_torchs_variables_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path))
    for name in CACHE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with kernels_kept():
        assert os.environ[KERNELS] == str(tmp_path / "kernels")
        assert (tmp_path / "kernels").is_dir()
        os.environ[TRITON] = str(tmp_path / "kernels" / "triton")  # as torch does when it compiles
    assert not set(CACHE_VARIABLES) & set(os.environ)


def test_a_folder_of_the_users_choice_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv(KERNELS, str(tmp_path / "theirs"))
    with kernels_kept():
        assert os.environ[KERNELS] == str(tmp_path / "theirs")
    assert os.environ[KERNELS] == str(tmp_path / "theirs")
    assert not (tmp_path / "ours").exists()


def test_a_cache_that_cannot_be_written_leaves_torch_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WRNEXP_CACHE", str(tmp_path / "file"))
    monkeypatch.delenv(KERNELS, raising=False)
    with kernels_kept():
        assert KERNELS not in os.environ


def test_small_micro_batches_are_bound_by_launches() -> None:
    light, base = 9.29 * GIGA, 31.5 * GIGA
    assert launch_bound(64 * light)
    assert not launch_bound(512 * light)
    assert not launch_bound(128 * base)


@pytest.mark.parametrize(
    ("device", "asked", "flop", "used"),
    [
        ("cuda", None, 1e9, True),
        ("cuda", None, 1e13, False),
        ("cuda", None, None, False),
        ("cuda", True, 1e13, True),
        ("cuda", False, 1e9, False),
        ("cpu", None, 1e9, False),
        ("cpu", False, 1e9, False),
    ],
)
def test_the_rule_decides_where_nobody_chose(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: bool | None, flop: float | None, used: bool
) -> None:
    monkeypatch.setattr("wrnexp.engine.hardware._device", torch.device)
    found = Hardware.settle(device, "fp32", cuda_graphs=asked, micro_batch_flop=flop)
    assert found.cuda_graphs is used
    assert not Hardware.settle(device, "fp32", compile=False, cuda_graphs=asked, micro_batch_flop=flop).cuda_graphs


def test_graphs_on_a_device_without_them_are_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.cuda_graphs=true: the device is cpu"):
        Hardware.settle("cpu", cuda_graphs=True)


def test_the_trainers_micro_batch_is_what_the_rule_sees(
    trainer: Any, batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float | None] = []
    settle = Hardware.settle

    def watched(*keys: Any) -> Hardware:
        seen.append(keys[-1])
        return settle(*keys)

    monkeypatch.setattr(Hardware, "settle", watched)
    trainer(batches=batches(batch_size=8), macs_per_image=1000)
    trainer(batches=batches(batch_size=8))
    assert seen == [6 * 1000 * 8, None]
    assert compiling.LAUNCH_BOUND_FLOP > 0


def test_a_sweep_in_one_process_compiles_as_many_nets_as_it_has() -> None:
    """torch counts compilations of a function and makes the ninth an error where one graph is asked for."""
    hardware = Hardware(torch.device("cpu"), bf16=False, channels_last=False, compile=True)
    for index in range(10):
        with hardware.settings():
            net = compiled(WideResNet(10, 1, 0.02 * index, 0.0, num_classes=5), cuda_graphs=False, backend="eager")
            assert net(torch.randn(2, 3, 8, 8)).shape == (2, 5)
