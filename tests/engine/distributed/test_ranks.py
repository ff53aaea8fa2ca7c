"""Two processes against one: batch norms, whole trainings, stops, and runs that go on with another number of them."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.errors import Stopped, UserError
from wrnexp.process.signals import SignalGuard
from wrnexp.runs.record import MEASURED

SCRIPT = Path(__file__).with_name("sharing.py")
Shared = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def sharing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sharing", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sharing"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


class Once(SignalGuard):
    """A stop that one process hears after a number of steps."""

    left = 9

    def deferred(self, *, timed: bool = False) -> Any:
        self.left -= 1
        if self.left == 0:
            self._asked = Stopped(15)
        return super().deferred(timed=timed)


@pytest.fixture(scope="module")
def shared(sharing: ModuleType, folder: Path) -> Shared:
    """What the two processes found; before them one has begun the training that they go on with."""
    with pytest.raises(Stopped):
        sharing.trainer(folder / "from one", Ranks(), accumulate=1, stop=Once()).fit()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(SCRIPT.parents[2])
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)],
            env=os.environ | both | {"RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": root},
        )
        for rank in "01"
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    return first, second


def test_a_batch_norm_is_that_of_all_images(sharing: ModuleType, shared: Shared) -> None:
    expected = sharing.normed(sharing.norm(), sharing.NORM_SIZES, Ranks())
    for one, mine, other in zip(expected, *(each["norm"] for each in shared), strict=True):
        for name in ("result", "inputs"):
            torch.testing.assert_close(torch.cat([mine[name], other[name]]), one[name], rtol=1e-12, atol=1e-12)
        for name in ("weight", "bias"):
            torch.testing.assert_close(mine[name] + other[name], one[name], rtol=1e-12, atol=1e-12)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.equal(mine[name], other[name])
            torch.testing.assert_close(mine[name], one[name], rtol=1e-12, atol=1e-12)


def tensors(kept: dict[str, Any]) -> dict[str, Tensor]:
    state = kept["state"]
    momenta = {f"momentum {key}": one["momentum_buffer"] for key, one in state["optimizer"]["state"].items()}
    return {"logits": kept["logits"], **state["model"], **state["average"].get("model", {})} | momenta


def assert_same(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for name, value in tensors(expected).items():
        torch.testing.assert_close(tensors(found)[name], value, rtol=tolerance, atol=tolerance, msg=name)
    for mine, other in zip(found["rows"], expected["rows"], strict=True):
        assert figures(mine) == pytest.approx(figures(other), rel=10 * tolerance, abs=0)


def figures(row: dict[str, Any]) -> dict[str, float]:
    """Return what is the same for whoever trains: no times."""
    return {key: value for key, value in row.items() if key not in MEASURED and value is not None}


@pytest.mark.parametrize(
    "name",
    [
        "accumulated", "one micro-batch a step, the last of one image", "clipped and averaged", "recomputed",
        "compiled and recomputed",
    ],
)  # fmt: skip
def test_two_processes_train_as_one(sharing: ModuleType, shared: Shared, tmp_path: Path, name: str) -> None:
    with sharing.graphs_as_they_are():
        expected = sharing.trained(tmp_path, Ranks(), **sharing.TRAININGS[name])
    for found in shared:
        assert_same(found[name], expected, 1e-7)  # logits are kept in float32


def test_all_processes_stop_at_the_same_step_though_one_was_told(shared: Shared) -> None:
    first, second = (found["stopped"] for found in shared)
    assert first == second
    assert (
        first["seen"] == 9
    )  # told after 8 steps, sent after the 9th, and what all have sent is looked at after the 10th
    assert first["kept"] == "up to step 4 of 6 in epoch 2"


def test_a_time_limit_that_one_process_notices_ends_all_at_the_same_step_but_not_in_the_last_one(
    shared: Shared,
) -> None:
    first, second = (found["out of time"] for found in shared)
    assert first == second
    assert (first["code"], first["seen"]) == (124, 9)
    assert first["why"] == (
        "time limit of 60 s reached (trainer.max_seconds); checkpointed up to step 4 of 6 in epoch 2"
    )
    # 8 steps were left. The limit passes after the 6th, is sent after the 7th, and would end the run after the 8th.
    assert [found["finished in time"] for found in shared] == [{"seen": 8}] * 2


def test_a_stopped_run_goes_on_bit_for_bit(shared: Shared) -> None:
    for found in shared:
        assert_same(found["resumed"], found["undisturbed"], 0)


@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_two_processes_recover_as_one_though_one_has_the_diverged_image(
    sharing: ModuleType, shared: Shared, tmp_path: Path, action: str
) -> None:
    expected = sharing.trained(tmp_path, Ranks(), action=action, **sharing.POISONED)
    assert [(one["step"], one["action"]) for one in expected["recoveries"]] == [(9, action)]
    for found in shared:
        assert_same(found[action], expected, 1e-7)
        assert found[action]["recoveries"] == expected["recoveries"]


def test_a_stopped_run_rolls_back_after_it_was_resumed(shared: Shared) -> None:
    for found in shared:
        assert found["rollback stopped"]["kept"] == "up to step 4 of 6 in epoch 2"  # for the second time
        assert_same(found["rollback resumed"], found["rollback"], 0)


def test_two_processes_diverge_at_the_same_step(shared: Shared) -> None:
    first, second = (found["diverged"] for found in shared)
    assert first == second
    assert first["seen"] == 12  # losses are added up once a period, and at the end of an epoch
    assert (first["divergence"]["step"], first["divergence"]["action"]) == (9, "stop")
    assert first["message"].startswith("the training loss is nan in epoch 2, step 3 of 6")


def test_processes_draw_masks_of_their_own(sharing: ModuleType, shared: Shared, tmp_path: Path) -> None:
    alone = sharing.trained(tmp_path, Ranks(), **sharing.DROPPING)
    assert alone["rows"][0]["train_loss"] != pytest.approx(shared[0]["undisturbed"]["rows"][0]["train_loss"], rel=1e-6)


def test_two_processes_go_on_with_what_one_began_and_one_with_what_two_began(
    sharing: ModuleType, shared: Shared, folder: Path, tmp_path: Path
) -> None:
    expected = sharing.trained(tmp_path, Ranks(), accumulate=1)
    assert_same(shared[0]["from one"], expected, 1e-7)
    assert shared[0]["stopped for one"]["kept"] is not None
    assert_same(sharing.trained(folder / "for one", Ranks(), accumulate=1), expected, 1e-7)


def test_only_the_first_writes_and_all_hear_of_it(shared: Shared) -> None:
    assert [found["gathered"] for found in shared] == [[0, 1], [0, 1]]
    assert [found["from first"] for found in shared] == [0, 0]


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert [Ranks(rank, 4, rank % 2).device("auto") for rank in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert chosen == [0, 1, 0, 1]
    assert Ranks(1, 2, 1).device("cpu") == "cpu"
    assert Ranks().device("cuda:1") == "cuda:1"
    with pytest.raises(UserError, match="finds no GPU of its own: 2 are visible"):
        Ranks(2, 3, 2).device("cuda")
    with pytest.raises(UserError, match="cuda:1 is one device"):
        Ranks(1, 2, 1).device("cuda:1")


def test_batch_statistics_of_each_device_need_images_on_each(sharing: ModuleType, tmp_path: Path) -> None:
    trainer = sharing.trainer(tmp_path, Ranks())
    trainer.ranks, trainer.sync_batchnorm = Ranks(0, 2), False
    with pytest.raises(UserError, match="the 2 devices in every micro-batch, and one has 1: use"):
        trainer.__post_init__()
