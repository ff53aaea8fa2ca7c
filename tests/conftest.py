"""Shared by all tests: nothing leaves the temporary folder, and W&B stays offline and silent."""

import gc
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from tests.optional_packages import pytest_pycollect_makemodule, pytest_runtest_call, pytest_runtest_setup
from tests.wandb_server import WandbServer
from wrnexp.runs.provenance import usable_cores
from wrnexp.sweeps.jobs import OneReading

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
    """Share the cores between the processes of `pytest -n`, and spare work that every test would do again."""
    if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        threads = max(1, usable_cores() // int(workers))
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that tests start
        torch.set_num_threads(threads)
    # A hundred processes that tests start would each compile the package again, and one of them the tests.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    gc.set_threshold(100_000, 20, 20)  # configs are many small objects: looking through them takes a tenth of the time


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.getbasetemp() / "wandb"
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(home))
    agents = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_SWEEP_PARAM_PATH")
    for name in ("WANDB_MODE", "WANDB_API_KEY", *agents):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("WANDB_DIR")


@pytest.fixture(autouse=True)
def _no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the runs of a test the drawing of their curves, which takes as long as training, unless it looks at them.

    The marker `curves` says that it does; runs of wider fixtures and of other processes draw theirs.
    """
    if "wrnexp.app" in sys.modules and request.node.get_closest_marker("curves") is None:
        monkeypatch.setattr("wrnexp.app.plot_run", lambda rows, path, title: None)


@cache
def _reading() -> OneReading:
    return OneReading(GlobalHydra.instance().config_loader())


@cache
def _composed(overrides: tuple[str, ...]) -> bytes:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.config_loader = _reading()
        return pickle.dumps(compose("config", overrides=list(overrides)))


@pytest.fixture(scope="session")
def tiny() -> Callable[..., DictConfig]:
    """Return a function that returns the config of a tiny run, with more overrides; each is composed once a process."""

    def make(*overrides: str) -> DictConfig:
        config: DictConfig = pickle.loads(_composed((*TINY, *overrides)))
        return config

    return make


@pytest.fixture
def tiny_overrides() -> list[str]:
    """Return the overrides of a tiny run, for a command line."""
    return list(TINY)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., DictConfig]) -> Path:
    """Return the folder of one tiny completed run that many tests read; copy it to change anything in it."""
    from wrnexp import app

    folder = tmp_path_factory.mktemp("trained") / "run"
    app.run(tiny(), folder)
    return folder


@pytest.fixture
def copied_run(trained_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny run's folder."""
    return Path(shutil.copytree(trained_run, tmp_path / "copied"))


def tear_down_wandb(patience: float = 60) -> None:
    """Tear the SDK down, which waits without a limit for its service process; kill one that does not end in time."""
    import wandb

    kill = ["pkill", "-KILL", "-P", str(os.getpid()), "wandb-core"]
    timer = threading.Timer(patience, subprocess.run, [kill])
    timer.start()
    try:
        with suppress(SystemExit):  # raised with the exit code of a killed process
            wandb.teardown()
    finally:
        timer.cancel()


@pytest.fixture
def wandb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Return a W&B server on this machine, which the SDK uses here and in the processes that the test starts."""
    tear_down_wandb()  # its settings are those of the process until then
    with WandbServer(tmp_path / "uploads") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
        server.recover()
        tear_down_wandb()  # else the next test's runs would go to this one's server
