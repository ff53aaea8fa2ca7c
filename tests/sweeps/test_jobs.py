"""The jobs of a sweep: combinations, arms, and configs that are what Hydra itself would compose."""

import itertools
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from wrnexp.errors import UserError
from wrnexp.hydra_app.naming import SWEEP_LIMIT, app_config
from wrnexp.process.signals import TimeLimit
from wrnexp.sweeps.jobs import Composer, FrozenConfigs, SweepArm, axes, combinations, read_arms
from wrnexp.sweeps.merging import merged

CONF = Path(__file__).parents[2] / "conf"
ARGUMENTS = ["experiment=base,light", "model.dropout=0,0.1", "seed=0,1"]


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra.config_loader


@pytest.fixture
def master(loader: ConfigLoader) -> DictConfig:
    return loader.load_configuration("config", ARGUMENTS, RunMode.MULTIRUN)


def test_every_arm_meets_every_combination() -> None:
    arms = [SweepArm("a"), SweepArm("b", ("optim.lr=1",))]
    found = [overrides for _, overrides in combinations(["model.dropout=0,0.1", "seed=range(3)"], arms)]
    values = itertools.product((f"model.dropout={x}" for x in ("0", "0.1")), (f"seed={n}" for n in range(3)))
    product = [(*arm, *pair) for arm, pair in itertools.product(((), ("optim.lr=1",)), values)]
    assert found == sorted(product, key=product.index)
    assert axes(["model.dropout=0,0.1", "seed=range(3)"], arms) == {
        "arm": ["a", "b"],
        "model.dropout": ["0", "0.1"],
        "seed": ["0", "1", "2"],
    }
    assert axes(["seed=4", "optim.lr=1"], [SweepArm()]) == {"seed": ["4"]}


@pytest.mark.parametrize("arm", [["x"], {"override": []}, {"overrides": "model.dropout=0"}, 3])
def test_an_arm_that_is_written_wrong_is_named(arm: object) -> None:
    with pytest.raises(UserError, match=r"'mine' must be a mapping with overrides"):
        read_arms({"mine": arm})


def test_configs_are_those_that_hydra_composes_one_by_one(loader: ConfigLoader, master: DictConfig) -> None:
    composer = Composer(loader, master, ARGUMENTS)
    jobs = [composer.job(overrides) for _, overrides in combinations(ARGUMENTS, [SweepArm()])]
    frozen = pickle.loads(pickle.dumps(FrozenConfigs(loader, jobs)))
    assert len({job.folder for job in jobs}) == 8
    for job in jobs:
        alone = loader.load_sweep_config(master, job.all_overrides)
        assert app_config(alone) == job.values == app_config(frozen.load_sweep_config(master, job.all_overrides))
    given = frozen.load_sweep_config(master, jobs[0].all_overrides)
    given.seed = 99  # what a launcher does to the config that it was given stays its own affair
    assert frozen.load_sweep_config(master, jobs[0].all_overrides).seed == 0


def test_labels_are_of_the_arm_and_of_what_else_is_swept(loader: ConfigLoader, master: DictConfig) -> None:
    composer = Composer(loader, master, ["model.dropout=0,0.1", "seed=0,1"])
    assert composer.job(["model.dropout=0.1", "seed=1"], SweepArm("it's, mine")).label == "it's, mine model.dropout=0.1"
    assert composer.job(["model.dropout=0.1", "seed=1"]).label == "base model.dropout=0.1"


def test_the_limit_of_a_sweep_is_in_hydras_part_of_a_config_alone(loader: ConfigLoader, master: DictConfig) -> None:
    job = Composer(loader, master, ARGUMENTS).job(["model.dropout=0.1", "seed=1", "+hydra.job.env_set.MINE=1"])
    OmegaConf.set_readonly(job.config.hydra, True)  # as Hydra leaves the config of a job that it has run
    before = OmegaConf.to_container(job.config, resolve=False)
    limit = TimeLimit(60.0, "sweep.max_seconds", ends=1e9)
    frozen = FrozenConfigs(loader, [job], limit)
    for configs in (frozen, pickle.loads(pickle.dumps(frozen))):
        given = configs.load_sweep_config(master, job.all_overrides)
        assert dict(given.hydra.job.env_set) == {"MINE": "1", SWEEP_LIMIT: limit.written}
        assert app_config(given) == job.values
    assert OmegaConf.to_container(job.config, resolve=False) == before


def test_what_a_resolver_gives_is_asked_once(loader: ConfigLoader, master: DictConfig) -> None:
    count = itertools.count()
    OmegaConf.register_new_resolver("next_value", lambda: next(count))
    try:
        job = Composer(loader, master, ["seed=0"]).job(["seed=${next_value:}"])
        given = FrozenConfigs(loader, [job]).load_sweep_config(master, job.all_overrides)
        assert app_config(given) == app_config(given) == job.values
        assert job.folder.name == job.run_id
    finally:
        OmegaConf.clear_resolver("next_value")


@pytest.mark.parametrize(
    ("arguments", "runs", "note"),
    [
        (["label=a,b", "optim.lr=0.1,0.2"], 2,
         "4 combinations are 2 runs: label does not change a result; no run has the label b"),
        (["experiment=demo_base,demo_light"], 2, None),
        (["optim.lr=-1,-1.0,-2"], 2, "3 combinations are 2 runs: the others repeat a configuration"),
        (["loader.workers=0,1", "tracking.console.progress=off,plain", "label=x"], 1,
         "4 combinations are 1 run: loader.workers, tracking.console.progress do not change a result"),
    ],
)  # fmt: skip
def test_combinations_that_are_one_run_are_one_job(
    loader: ConfigLoader, arguments: list[str], runs: int, note: str | None
) -> None:
    master = loader.load_configuration("config", arguments, RunMode.MULTIRUN)
    jobs, line = merged(Composer(loader, master, arguments), combinations(arguments, [SweepArm()]))
    assert (len(jobs), line and line.partition("; no run has the label base")[0]) == (runs, note)
    assert len({job.run_id for job in jobs}) == runs


def test_arms_that_are_one_run_are_named(loader: ConfigLoader, master: DictConfig) -> None:
    arms = [SweepArm("a", ("optim.lr=0.1",)), SweepArm("b", ("optim.lr=0.10",))]
    jobs, line = merged(Composer(loader, master, ["seed=0"]), combinations(["seed=0"], arms))
    assert [job.label for job in jobs] == ["a"]
    assert line == "2 combinations are 1 run: the others repeat a configuration; no run has the label b"
