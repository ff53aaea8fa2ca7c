"""`wrnexp bench augment` and `loader`: what they measure, and what they write."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from wrnexp import cli
from wrnexp.cli.bench import augment
from wrnexp.cli.bench.recipes import CLASSES, MEAN, RECIPES, SIDE, STD, dataset, pictures, recipe

CONF = Path(__file__).parents[2] / "conf" / "augment"


@pytest.mark.parametrize("name", ["base", "light"])
def test_the_recipes_are_those_of_the_config(name: str) -> None:
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    del config["_target_"]
    assert config == RECIPES[name]


@pytest.mark.parametrize("name", RECIPES)
def test_both_sides_give_normalised_batches_of_all_images(name: str) -> None:
    images = pictures(6)
    ours, labels = augment._batched(name, images)(0)
    theirs = augment._per_image(name, images)(0)
    assert isinstance(theirs, torch.Tensor)
    assert ours.shape == theirs.shape == (6, 3, SIDE, SIDE)
    assert ours.dtype == theirs.dtype == torch.float32
    assert len(labels) == 6


def test_the_data_set_is_what_its_recipe_normalises(tmp_path: Path) -> None:
    data = dataset(tmp_path, 12)
    assert (len(data.train), len(data.classes), data.mean, data.std) == (12, CLASSES, MEAN, STD)
    np.testing.assert_array_equal(data.train.gather(np.arange(12)), pictures(12))
    assert recipe("light").policy == "randaugment"


def read(path: Path) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = json.loads(path.read_text())
    for figure in figures:
        assert set(figure) == {"name", "value", "unit", "reference", "ratio"}
        assert figure["unit"] == "images/s"
        assert min(figure["value"], figure["reference"], figure["ratio"]) > 0
    return figures


def test_bench_augment_compares_every_recipe(tmp_path: Path) -> None:
    path, threads = tmp_path / "augment.json", torch.get_num_threads()
    assert cli.main(["bench", "augment", "--batch", "8", "--rounds", "1", "--repeat", "1", "--json", str(path)]) == 0
    names = [str(figure["name"]) for figure in read(path)]
    assert [name for name in names if "torchvision" in name] == [
        f"{name}, batch 8, against torchvision" for name in RECIPES
    ]
    assert torch.get_num_threads() == threads


def test_bench_loader_compares_both_loaders(tmp_path: Path) -> None:
    path = tmp_path / "loader.json"
    sizes = ["--batch", "16", "--images", "64", "--reference-images", "32", "--workers", "1", "--rounds", "1"]
    assert cli.main(["bench", "loader", *sizes, "--recipe", "light", "--device", "cpu", "--json", str(path)]) == 0
    assert [figure["name"] for figure in read(path)] == ["light, 1 workers, batch 16", "light, resident, batch 16"]
