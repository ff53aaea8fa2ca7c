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
from wrnexp.launch.jobs import Arm, Composer, FrozenConfigs, axes, combinations, read_arms
from wrnexp.launch.naming import SWEEP_LIMIT, app_config
from wrnexp.stopping import TimeLimit

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
    arms = [Arm("a"), Arm("b", ("optim.lr=1",))]
    found = [overrides for _, overrides in combinations(["model.dropout=0,0.1", "seed=range(3)"], arms)]
    values = itertools.product((f"model.dropout={x}" for x in ("0", "0.1")), (f"seed={n}" for n in range(3)))
    product = [(*arm, *pair) for arm, pair in itertools.product(((), ("optim.lr=1",)), values)]
    assert found == sorted(product, key=product.index)
    assert axes(["model.dropout=0,0.1", "seed=range(3)"], arms) == {
        "arm": ["a", "b"],
        "model.dropout": ["0", "0.1"],
        "seed": ["0", "1", "2"],
    }
    assert axes(["seed=4", "optim.lr=1"], [Arm()]) == {"seed": ["4"]}


@pytest.mark.parametrize("arm", [["x"], {"override": []}, {"overrides": "model.dropout=0"}, 3])
def test_an_arm_that_is_written_wrong_is_named(arm: object) -> None:
    with pytest.raises(UserError, match=r"'mine' must be a mapping with overrides"):
        read_arms({"mine": arm})


def test_configs_are_those_that_hydra_composes_one_by_one(loader: ConfigLoader, master: DictConfig) -> None:
    composer = Composer(loader, master, ARGUMENTS)
    jobs = [composer.job(overrides) for _, overrides in combinations(ARGUMENTS, [Arm()])]
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
    assert composer.job(["model.dropout=0.1", "seed=1"], Arm("it's, mine")).label == "it's, mine model.dropout=0.1"
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
