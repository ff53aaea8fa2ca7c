"""Shared by all tests: nothing leaves the temporary folder, and W&B stays offline and silent."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from tests.optional_packages import pytest_pycollect_makemodule, pytest_runtest_call, pytest_runtest_setup
from tests.wandb_server import WandbServer
from wrnexp.provenance import usable_cores

__all__ = ["pytest_pycollect_makemodule", "pytest_runtest_call", "pytest_runtest_setup"]

CONF = Path(__file__).parents[1] / "conf"

# A run of a second or two: 96 drawn images, one small net, float32 so that figures are comparable.
TINY = [
    "data=shapes", "data.train_limit=96", "data.test_limit=48", "model.depth=10", "model.width=1", "optim.epochs=2",
    "optim.schedule.warmup_epochs=1", "loader.batch_size=16", "loader.workers=0", "trainer.precision=fp32",
    "tracking.wandb.mode=disabled", "tracking.console.progress=off", "tracking.media.augmented=false",
    "tracking.media.mistakes=false", "tracking.media.confusion=false", "tracking.media.reliability=false",
]  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores between the processes of `pytest -n`."""
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        threads = max(1, usable_cores() // int(workers))
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that tests start
        torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.getbasetemp() / "wandb"
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(home))
    agents = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_SWEEP_PARAM_PATH")
    for name in ("WANDB_MODE", "WANDB_API_KEY", *agents):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("WANDB_DIR")


@pytest.fixture
def tiny() -> Callable[..., DictConfig]:
    """Return a function that composes the config of a tiny run, with more overrides."""

    def make(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides=[*TINY, *overrides])

    return make


@pytest.fixture
def tiny_overrides() -> list[str]:
    """Return the overrides of a tiny run, for a command line."""
    return list(TINY)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one tiny completed run that many tests read; copy it to change anything in it."""
    from wrnexp import app

    folder = tmp_path_factory.mktemp("trained") / "run"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        app.run(compose("config", overrides=TINY), folder)
    return folder


@pytest.fixture
def copied_run(trained_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny run's folder."""
    return Path(shutil.copytree(trained_run, tmp_path / "copied"))


@pytest.fixture
def wandb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Return a W&B server on this machine, which the SDK uses here and in the processes that the test starts."""
    import wandb

    wandb.teardown()  # its settings are those of the process until then
    with WandbServer(tmp_path / "uploads") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
        server.recover()
        wandb.teardown()  # else the next test's runs would go to this one's server
