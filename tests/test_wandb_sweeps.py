"""Sweeps by W&B's own agents: `wandb sweep` and `wandb agent` against a server on this machine, runs of run.py."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig

from tests.wandb_server import Run, WandbServer, check
from tests.wandb_server.state import Sweep
from wrnexp import app
from wrnexp.cli import main
from wrnexp.errors import UserError
from wrnexp.runs.record import read_metrics, read_record, record_folders
from wrnexp.tracking.wandb.sink import Wandb

ROOT = Path(__file__).parents[1]
KEPT = sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))
DROPOUT = ROOT / "sweeps" / "wandb" / "dropout.yaml"
AGENT = {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "s1-1", "WANDB_PROJECT": "shared", "WANDB_ENTITY": "me"}
ONLINE = {"tracking.wandb.mode": "auto", "tracking.wandb.code": False, "tracking.wandb.patience": 5}
FEWER: dict[str, list[int]] = {"optim.epochs": [1, 2], "loader.batch_size": [12, 24]}
WANDB = [sys.executable, "-m", "wandb"]


@pytest.fixture(autouse=True)
def _agents_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `python`, which an agent starts, be this one, as in an activated environment."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("WANDB_SILENT", raising=False)  # `wandb sweep` is to say the sweep's id


@pytest.fixture
def tiny_sweep(tmp_path: Path, tiny_overrides: list[str]) -> Callable[..., Path]:
    """Return a function that copies a kept sweep and makes its runs tiny; what it asks about stays a question."""

    def make(kept: Path, **more: Any) -> Path:
        config = yaml.safe_load(kept.read_text())
        given = [override.partition("=")[::2] for override in tiny_overrides]
        small = {key: value if value == "off" else yaml.safe_load(value) for key, value in given}
        small |= {"data.val_size": 24} | ONLINE | more
        config["program"] = str(ROOT / "run.py")
        # A group among the parameters would stand in the W&B run's config in place of its values.
        config["command"].insert(config["command"].index("${args_no_hyphens}"), f"data={small.pop('data')}")
        asked = {key: {"values": values} for key, values in FEWER.items() if key in config["parameters"]}
        config["parameters"] |= {key: {"value": value} for key, value in small.items()} | asked
        (tmp_path / kept.name).write_text(yaml.safe_dump(config, sort_keys=False))
        return tmp_path / kept.name

    return make


def start(sweep: Path) -> str:
    """Create a sweep at the server and return what the command says that agents are started with."""
    done = subprocess.run(
        [*WANDB, "sweep", str(sweep)], cwd=sweep.parent, capture_output=True, text=True, timeout=240, check=True
    )
    found = re.search(r"wandb agent (\S+)", done.stderr + done.stdout)
    assert found is not None, done.stderr
    return found[1]


def agent(folder: Path, sweep: str, count: int = 1) -> str:
    """Run an agent to its end and return what it and its runs print."""
    command = [*WANDB, "agent", "--count", str(count), sweep]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "error:" not in told, told  # an agent goes on after a run that failed
    return told


def folders(folder: Path) -> list[Path]:
    return sorted(record_folders(folder / "outputs"))


def checked(server: WandbServer, folder: Path) -> Iterator[Run]:
    """Yield the W&B runs of all local runs, each of which is an agent's and says what its record says."""
    (sweep,) = server.sweeps.values()
    given = [name for names in sweep.agents.values() for name in names]
    assert sorted(server.runs) == sorted(given)
    assert {read_record(path).provenance["wandb_run"]["id"] for path in folders(folder)} == set(given)
    for path in folders(folder):
        found = server.runs[read_record(path).provenance["wandb_run"]["id"]]
        assert (found.sweep, found.project) == (sweep.name, "wrnexp")
        check(found, path)
        yield found
    assert server.state.unknown == []


def nested(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(
    "kept",
    [pytest.param(path, marks=() if path.stem == "dropout" else pytest.mark.slow, id=path.stem) for path in KEPT],
)
def test_an_agent_runs_a_kept_sweep(kept: Path, tiny_sweep: Callable[..., Path], wandb_server: WandbServer) -> None:
    path = tiny_sweep(kept)
    identity = start(path)
    assert identity.split("/")[-2:] == ["wrnexp", *wandb_server.sweeps]
    count = 2 if kept.stem == "longer_training" else 1
    agent(path.parent, identity, count)
    runs = list(checked(wandb_server, path.parent))
    assert len(runs) == count
    parameters = yaml.safe_load(path.read_text())["parameters"]
    for run in runs:
        assert run.job_type == run.settings["experiment"]
        for key in parameters.keys() - {"experiment"}:
            told = run.settings[key]  # as the sweep gave it
            assert told in parameters[key].get("values", [parameters[key].get("value", told)])
            if not str(told).startswith("${"):
                assert nested(run.settings, key) == told
    assert len({(run.settings["optim.epochs"], run.settings["seed"]) for run in runs}) == count
    if kept.stem == "batch_size":  # the rate was computed where the run was
        images = runs[0].settings["loader"]["batch_size"] * runs[0].settings["optim"]["accumulate"]
        assert runs[0].settings["optim"]["lr"] == pytest.approx(0.1 / 128 * images)
    assert not (ROOT / "wandb").exists()


@pytest.mark.slow
def test_a_run_that_is_complete_is_told_to_the_next_sweep(
    tiny_sweep: Callable[..., Path], wandb_server: WandbServer
) -> None:
    path = tiny_sweep(DROPOUT, **{"tracking.media.augmented": True})
    agent(path.parent, start(path))
    (folder,) = folders(path.parent)
    ((first, before),) = wandb_server.runs.items()
    files = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "record.json"}
    kept, history = read_record(folder), list(before.history)
    told = agent(path.parent, start(path))
    assert "complete already, 2 epochs" in told
    (second,) = wandb_server.runs.keys() - {first}
    found = wandb_server.runs[second]
    assert found.sweep == list(wandb_server.sweeps)[1]
    check(found, folder)
    assert [row["_step"] for row in found.history if "media/augmented" in row] == [0]
    assert before.history == history
    assert {file: file.read_bytes() for file in files} == files
    record = read_record(folder)  # the one W&B run that it is published to is the last one that it was told to
    assert record.provenance["wandb_run"]["id"] == second
    record.provenance["wandb_run"] = kept.provenance["wandb_run"]
    assert record == kept


def kill_the_run(agent: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Kill the process that an agent has started, and nothing else, once it has trained an epoch."""
    while not any(read_metrics(path) for path in record_folders(folder / "outputs")):
        assert agent.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    (run,) = (int(child) for child in children if b"run.py" in Path(f"/proc/{child}/cmdline").read_bytes())
    os.kill(run, signal.SIGKILL)


@pytest.mark.slow
def test_a_run_that_was_killed_is_published_as_the_agents(
    tiny_sweep: Callable[..., Path], wandb_server: WandbServer
) -> None:
    path = tiny_sweep(DROPOUT, **{"optim.epochs": 2000})
    with (path.parent / "agent.log").open("w") as log:
        process = subprocess.Popen(
            [*WANDB, "agent", "--count", "1", start(path)],
            cwd=path.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        kill_the_run(process, path.parent)
        assert process.wait(timeout=240) == 0
    assert main(["publish", str(path.parent / "outputs")]) == 0
    (found,) = checked(wandb_server, path.parent)
    assert (found.state, found.summary["status"]) == ("failed", "running")


@pytest.mark.slow
@pytest.mark.parametrize("files", [True, False])
def test_a_run_whose_server_was_lost_is_published_as_the_agents(
    tiny_sweep: Callable[..., Path], wandb_server: WandbServer, files: bool
) -> None:
    """The agent reaches the server and its run does not, which has another address; with W&B's files, and without."""
    path = tiny_sweep(DROPOUT)
    config = yaml.safe_load(path.read_text())
    config["command"].insert(1, "WANDB_BASE_URL=http://127.0.0.1:9")
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    told = agent(path.parent, start(path))
    assert "this run is logged offline" in told
    assert wandb_server.runs == {}
    if not files:
        shutil.rmtree(path.parent / "outputs" / "wandb")
    assert main(["publish", str(path.parent / "outputs")]) == 0
    (found,) = checked(wandb_server, path.parent)
    assert found.state == "finished"


def test_an_agents_run_stays_its_own_when_it_is_started_by_hand(
    tmp_path: Path, tiny: Callable[..., DictConfig], wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent's first process ended before W&B was asked; the second is started without it, in another project."""
    wandb_server.state.sweeps["s1"] = Sweep("s1", "me", "shared", {}, [])
    for name, value in AGENT.items():
        monkeypatch.setenv(name, value)

    def refuse(*arguments: object) -> int:
        raise UserError("refused")

    online = tiny("tracking.wandb.mode=online", "tracking.wandb.code=false")
    with monkeypatch.context() as patch:
        patch.setattr(app, "multiply_adds", refuse)
        with pytest.raises(UserError):
            app.run(online, tmp_path / "run")
    assert read_record(tmp_path / "run").provenance["wandb_run"]["id"] == "s1-1"
    for name in AGENT:
        monkeypatch.delenv(name)
    app.run(online, tmp_path / "run")
    (found,) = wandb_server.runs.values()
    assert (found.project, found.name, found.sweep) == ("shared", "s1-1", "s1")
    check(found, tmp_path / "run")


def test_no_failure_of_telling_an_agent_is_one_of_the_run(
    tmp_path: Path, tiny: Callable[..., DictConfig], wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    kept = app.run(tiny(), tmp_path / "run")
    for name, value in AGENT.items():
        monkeypatch.setenv(name, value)
    wrong = tiny("tracking.wandb._target_=wrnexp.nothing")
    app.run(wrong, tmp_path / "run")
    assert read_record(tmp_path / "run") == kept
    assert "the run is complete" in capsys.readouterr().err
    wandb_server.die()
    monkeypatch.setattr(Wandb, "_last_failure", None)
    online = tiny("tracking.wandb.mode=online", "tracking.wandb.patience=2")
    assert app.run(online, tmp_path / "run").metrics == kept.metrics
    assert "wrnexp publish" in capsys.readouterr().err
    wandb_server.recover()
    for name in AGENT:
        monkeypatch.delenv(name)
    assert main(["publish", str(tmp_path)]) == 0
    (found,) = wandb_server.runs.values()
    assert (found.project, found.name, found.sweep) == ("shared", "s1-1", "s1")
    check(found, tmp_path / "run")
