"""sweeps/: each file asks a question that its seeds can answer, at a small scale too; those for W&B ask the same."""

import functools
import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from wrnexp import stats
from wrnexp.cli.plan.sources import Planned, PlannedRun, from_file, from_folder, kept_sweeps
from wrnexp.config import identity
from wrnexp.config.check import problems
from wrnexp.hydra_app.naming import app_config, times
from wrnexp.sweeps.estimates import Measured
from wrnexp.sweeps.jobs import Composer, Job, combinations, read_arms
from wrnexp.sweeps.sweep_json import read_sweep

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SWEEPS = kept_sweeps(ROOT)
WANDB = sorted((ROOT / "sweeps" / "wandb").glob("*.yaml"))
SMALL = ["+scale=small"]

# What the small scale makes equal, where a sweep does not ask about it.
MADE_EQUAL = {"model.width", "loader.batch_size"}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _differing(runs: list[PlannedRun]) -> set[str]:
    """Return the keys in which runs differ, without those that cannot change a result."""
    flat = [_flat(identity.identity_config(run.config)) for run in runs if run.config is not None]
    return {key for key in flat[0] if len({str(one.get(key)) for one in flat}) > 1}


@functools.cache  # composing a sweep takes a second, and several tests look at each
def _planned(name: str, *overrides: str) -> Planned:
    return from_file(name, overrides, ROOT)


def _one_of_each(name: str, *overrides: str) -> list[PlannedRun]:
    return [runs[0] for runs in _planned(name, *overrides).arms.values()]


def _jobs(name: str, overrides: list[str]) -> list[Job]:
    """Return every job of a sweep, each composed on its own."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config(name, overrides, run_mode=RunMode.MULTIRUN, with_log_configuration=False)
        assert config.hydra.mode == RunMode.MULTIRUN
        sweeper: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        arguments = [f"{key}={values}" for key, values in sweeper["params"].items()]
        arguments += list(config.hydra.overrides.task)
        composer = Composer(hydra.config_loader, config, arguments)
        return [composer.job(own, arm) for arm, own in combinations(arguments, read_arms(sweeper.get("arms")))]


def _composed(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, overrides=list(overrides))
        assert isinstance(config, DictConfig)
        return app_config(config)


def test_the_seven_questions_are_kept() -> None:
    assert SWEEPS == [
        "augmentation",
        "base_vs_light",
        "batch_size",
        "dropout",
        "dropout_x_label_smoothing",
        "label_smoothing",
        "longer_training",
    ]
    assert [path.stem for path in WANDB] == SWEEPS


@pytest.mark.parametrize("path", [ROOT / "sweeps" / f"{name}.yaml" for name in SWEEPS] + WANDB, ids=str)
def test_the_first_line_is_a_question(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith("?")


@pytest.mark.parametrize("name", SWEEPS)
def test_the_seeds_of_a_sweep_can_answer_its_question(name: str) -> None:
    planned = _planned(name)
    arms, seeds = len(planned.arms), planned.seeds
    assert stats.shortfall(arms, seeds) is None
    assert stats.shortfall(arms, seeds - 1) is not None  # and no more of them than that takes
    assert len(planned.runs) == arms * seeds
    assert len({run.folder.name for run in planned.runs}) == arms * seeds
    assert all(len(runs) == seeds for runs in planned.arms.values())
    for run in planned.runs:
        assert run.config is not None
        assert run.config["data"]["val_size"] == 5000
        assert run.config["trainer"]["test_every"] == (1 if name == "base_vs_light" else 0)
        assert run.folder.parent.name == name


@pytest.mark.parametrize("name", SWEEPS)
def test_every_small_job_is_a_run_of_its_own(name: str) -> None:
    jobs = _jobs(name, SMALL)
    ids = {identity.run_id(job.values) for job in jobs}
    assert len(ids) == len(jobs)
    assert {job.folder.name for job in jobs} == ids
    assert {job.values["seed"] for job in jobs} == {0, 1, 2}
    assert len({job.label for job in jobs}) == len(jobs) / 3
    assert [line for job in jobs for line in problems(job.values)] == []
    assert ids == {run.folder.name for run in _planned(name, *SMALL).runs}
    for job in jobs:
        assert job.values["model"]["depth"] <= 16
        assert job.values["data"]["train_limit"] + job.values["data"]["val_size"] <= 6000  # shapes has no more


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("data", [[], ["data=shapes"]])
def test_what_a_sweep_is_about_survives_the_small_scale(name: str, data: list[str]) -> None:
    full, small = _one_of_each(name), _one_of_each(name, *SMALL, *data)
    assert len(full) == len(small)
    asked = _differing(full)
    spared = MADE_EQUAL if name == "base_vs_light" else set()
    assert asked - _differing(small) <= spared
    assert [run.label for run in full] == [run.label for run in small] or name in ("batch_size", "longer_training")


def test_base_and_light_stay_base_and_light_at_the_small_scale() -> None:
    base, light = (_composed("config", f"experiment={name}", *SMALL) for name in ("base", "light"))
    assert (base["model"]["depth"], light["model"]["depth"]) == (16, 10)
    assert (base["optim"]["epochs"], light["optim"]["epochs"]) == (8, 7)
    assert (base["optim"]["accumulate"], light["optim"]["accumulate"]) == (1, 2)
    assert (base["augment"]["policy"], light["augment"]["policy"]) == ("autoaugment", "randaugment")
    by_groups = [f"{group}=light" for group in ("model", "augment", "optim", "loader")]
    assert _composed("config", *by_groups, *SMALL) == light


@pytest.mark.parametrize(
    "choice",
    [
        "experiment=paper_wrn_16_8",
        "experiment=paper_wrn_40_4",
        "loader=resident",
        "experiment=demo_light",
        "optim=paper",
    ],
)
def test_any_choice_has_a_small_scale(choice: str) -> None:
    config = _composed("config", choice, *SMALL)
    assert problems(config) == []
    assert (config["model"]["width"], config["loader"]["batch_size"]) == (1, 64)
    assert config["optim"]["epochs"] <= 10


def test_what_is_given_after_the_scale_holds() -> None:
    config = _composed("config", *SMALL, "model.depth=22", "optim.epochs=3", "data.train_limit=100")
    assert (config["model"]["depth"], config["optim"]["epochs"], config["data"]["train_limit"]) == (22, 3, 100)
    assert config["model"]["width"] == 1


def test_without_a_scale_nothing_changes() -> None:
    assert _composed("config")["model"]["depth"] == 28


def test_longer_training_is_told_in_multiples_of_the_recipe() -> None:
    epochs = {
        scale: [run.config["optim"]["epochs"] for run in _one_of_each("longer_training", *scale) if run.config]
        for scale in ((), ("+scale=small",), ("experiment=base",))
    }
    assert epochs == {(): [85, 170, 255], ("+scale=small",): [7, 14, 21], ("experiment=base",): [100, 200, 300]}


def test_the_rate_follows_the_batch() -> None:
    for scale in ([], SMALL, ["experiment=base"]):
        for run in _one_of_each("batch_size", *scale):
            assert run.config is not None
            images = run.config["loader"]["batch_size"] * run.config["optim"]["accumulate"]
            assert run.config["optim"]["lr"] == pytest.approx(0.1 * images / 128)
    assert _composed("batch_size")["optim"]["lr"] == _composed("config", "experiment=light")["optim"]["lr"]


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=240)


def test_a_sweep_of_arms_starts_from_any_folder(tmp_path: Path) -> None:
    done = _run(tmp_path, "-cn", "augmentation", "seed=0", "sweep.dry_run=true")
    assert done.returncode == 0, done.stderr
    for arm in ("own", "crop and flip", "autoaugment", "trivialaugment", "stronger randaugment", "mixup", "cutmix"):
        assert arm in done.stdout
    assert "0 of 7 jobs completed" in done.stdout


def test_a_kept_sweep_runs_at_the_small_scale(tmp_path: Path) -> None:
    tiny = ["optim.epochs=1", "data.train_limit=144", "data.test_limit=48", "data.val_size=48"]
    quiet = ["tracking.wandb.mode=disabled", "tracking.console.progress=off"]
    folder = tmp_path / "multirun" / "base_vs_light_small"
    done = _run(tmp_path, "-cn", "base_vs_light", "+scale=small", "data=shapes", "seed=3", *tiny, *quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    sweep = read_sweep(folder)
    assert sweep.question == (ROOT / "sweeps" / "base_vs_light.yaml").read_text().splitlines()[0].removeprefix("# ")
    assert [(job.label, job.seed, job.state) for job in sweep.jobs] == [
        ("base", 3, "completed"),
        ("light", 3, "completed"),
    ]
    assert [job.settings["model.depth"] for job in sweep.jobs] == [16, 10]
    planned = from_folder(folder)
    assert [run.done for run in planned.runs] == [True, True]
    estimates = [Measured.read([folder]).run_seconds(run.config) for run in planned.runs if run.config]
    assert all(one is not None and one.seconds > 0 and one.n == 1 for one in estimates)


def test_multiples() -> None:
    assert times(85, 1, 2) == "85,170"
    assert times(512, 0.5) == "256"
    assert times(0.1, 3) == "0.3"


def _arguments(definition: dict[str, Any], values: tuple[Any, ...]) -> list[str]:
    """Return what W&B's agent puts in the place of ${args_no_hyphens}."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    chosen = dict(zip(definition["parameters"], values, strict=True))
    made: list[str] = create_sweep_command_args({"args": {key: {"value": one} for key, one in chosen.items()}})[
        "args_no_hyphens"
    ]
    return made


def _values(parameter: dict[str, Any]) -> list[Any]:
    if "value" in parameter:
        return [parameter["value"]]
    return list(parameter["values"] if "values" in parameter else (parameter["min"], parameter["max"]))


def _definition(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("path", WANDB, ids=lambda path: path.stem)
def test_a_wandb_sweep_asks_the_same_of_run_py(path: Path) -> None:
    definition = _definition(path)
    question = path.read_text().splitlines()[0]
    assert (ROOT / "sweeps" / path.name).read_text().splitlines()[0] == question
    assert definition["description"] == question.removeprefix("# ")
    assert definition["metric"] == {"name": "val_accuracy", "goal": "maximize"}
    assert definition["program"] == "run.py"
    assert (ROOT / definition["program"]).is_file()
    assert definition["command"] == ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
    assert len(definition["parameters"]["seed"]["values"]) > 1


@pytest.mark.parametrize("path", WANDB, ids=lambda path: path.stem)
def test_what_the_agent_gives_composes_to_the_runs_of_the_kept_sweep(path: Path) -> None:
    definition = _definition(path)
    seeds = definition["parameters"].pop("seed")["values"]
    choices = [_values(parameter) for parameter in definition["parameters"].values()]
    ends = zip(*((values[0], values[-1]) for values in choices), strict=True)  # of what a search may try
    arms = set()
    for values in itertools.product(*choices) if definition["method"] == "grid" else ends:
        config = _composed("config", *_arguments(definition, values), f"seed={seeds[0]}")
        assert problems(config) == []
        arms.add(identity.arm_id(config))
    if definition["method"] == "grid":
        planned = _planned(path.stem)
        assert arms == set(planned.arms)
        assert seeds == sorted({run.seed for run in planned.runs})


@pytest.mark.parametrize("path", WANDB, ids=lambda path: path.stem)
def test_the_schema_of_wandb_accepts_it(path: Path) -> None:
    pytest.importorskip("sweeps.config", reason="wandb[sweeps] is not installed")  # our folder has that name too
    sweeps = importlib.import_module("sweeps")
    assert sweeps.schema_violations_from_proposed_config(_definition(path)) == []


def test_git_keeps_the_wandb_sweeps() -> None:
    done = subprocess.run(
        ["git", "-C", ROOT, "check-ignore", "-q", "sweeps/wandb/dropout.yaml"], capture_output=True, timeout=30
    )
    if done.returncode == 128:
        pytest.skip("not a git repository")
    assert done.returncode == 1
