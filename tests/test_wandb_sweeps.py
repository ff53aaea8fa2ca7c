"""W&B's sweeps: each kept file through `wandb sweep` and `wandb agent` themselves, against a server on this machine.

Copies of the files are run, made tiny by what their command says; the parameters are those of the files but for the
size of the validation split.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.wandb_server import Run, WandbServer, check
from wrnexp.records import Record, read_record, record_folders

ROOT = Path(__file__).parents[1]
FILES = sorted(path.stem for path in (ROOT / "sweeps" / "wandb").glob("*.yaml"))
FAST = "dropout"  # the one of the default run; an agent looks around every 5 seconds only
TWICE = "label_smoothing"  # the one of which an agent runs two combinations
PARAMETERS = [pytest.param(name, marks=[] if name == FAST else [pytest.mark.slow]) for name in FILES]
KEPT = {"tracking.wandb.mode=disabled"}  # of a tiny run's overrides, what would keep W&B out


def tiny_copy(name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Write a copy of a kept sweep whose runs take a second, and return it."""
    sweep: dict[str, Any] = yaml.safe_load((ROOT / "sweeps" / "wandb" / f"{name}.yaml").read_text())
    parameters = sweep["parameters"]
    parameters["data.val_size"]["value"] = 24
    images = ["data.train_limit=300"] if "loader.batch_size" in parameters else []  # for its smallest batch, 256
    extra = [one for one in overrides if one.split("=")[0] not in parameters and one not in KEPT] + images
    sweep["program"] = str(ROOT / sweep["program"])
    sweep["command"] = [*sweep["command"][:-1], *extra, "tracking.wandb.code=false", sweep["command"][-1]]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    return sweep


def wandb(folder: Path, *arguments: str) -> str:
    """Run a command of W&B's in `folder`, nobody at the terminal, and return what it printed.

    The environment is activated, as agents need it: they start whatever is called python.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "wandb", *arguments],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240,
        env=os.environ | {"PATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def value_at(config: dict[str, Any], key: str) -> Any:
    """Return the value of a dotted key."""
    for part in key.split("."):
        config = config[part]
    return config


def assert_as_given(run: Run, record: Record, given: dict[str, Any]) -> None:
    """Compare what the agent was told with what was trained and with what the run says at the server."""
    for key, value in given.items():
        if key == "experiment":
            assert (record.provenance["recipe"], run.job_type) == (value, value)
        elif not str(value).startswith("${"):  # an expression: its value is Hydra's to say
            assert value_at(record.config, key) == value_at(run.settings, key) == value, key
    assert given.keys() <= run.settings.keys()  # W&B's own pages of a sweep look for the parameters by name
    assert run.settings["model"] == record.config["model"]
    assert run.settings["optim"] == record.config["optim"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_agent_runs_it(name: str, tmp_path: Path, tiny_overrides: list[str], wandb_server: WandbServer) -> None:
    sweep, count = tiny_copy(name, tmp_path, tiny_overrides), 2 if name == TWICE else 1
    printed = wandb(tmp_path, "sweep", f"{name}.yaml")
    address = re.search(r"wandb agent (\S+)", printed)
    assert address is not None, printed
    printed = wandb(tmp_path, "agent", "--count", str(count), address[1])
    (kept,) = wandb_server.sweeps.values()
    (ids,) = kept.agents.values()
    records = {record.provenance["wandb"]["id"]: (path, record) for path, record in read(tmp_path)}
    assert sorted(records) == sorted(wandb_server.runs) == sorted(ids), printed
    assert len(ids) == count
    for one in ids:
        run, (path, record) = wandb_server.runs[one], records[one]
        assert (run.sweep, run.project, record.status) == (kept.name, "wrnexp", "completed")
        check(run, path)
        assert sweep["metric"]["name"] in run.summary
        assert_as_given(run, record, given(tmp_path, one))


def read(folder: Path) -> list[tuple[Path, Record]]:
    return [(path, read_record(path)) for path in record_folders(folder / "outputs")]


def given(folder: Path, run: str) -> dict[str, Any]:
    """Return the values that the agent has written down for a run."""
    (path,) = (folder / "wandb").glob(f"sweep-*/config-{run}.yaml")
    return {key: item["value"] for key, item in yaml.safe_load(path.read_text()).items() if key != "wandb_version"}
