"""`wrnexp bench augment` and `loader`: what they measure, and what they write."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from wrnexp import cli
from wrnexp.cli.bench import Figure, augment
from wrnexp.cli.bench.pace import Effort, Side
from wrnexp.cli.bench.recipes import CLASSES, MEAN, RECIPES, SIDE, STD, dataset, pictures, recipe
from wrnexp.engine import Hardware

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


def test_quick_mode_has_the_two_recipes_and_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Effort]] = []

    def compare(self: Effort, name: str, unit: str, *sides: Side) -> Figure:
        asked.append((name, self))
        return Figure(name, 1.0, unit)

    monkeypatch.setattr(Effort, "compare", compare)
    assert cli.main(["bench", "augment", "--batch", "8", "--quick", "--repeat", "5", "--device", "cpu"]) == 0
    assert [one for one in asked if "torchvision" in one[0]] == [
        (f"{name}, batch 8, against torchvision", Effort(None, 5, None)) for name in ("base", "light")
    ]


def test_a_device_is_compared_with_the_cpu_and_compiled_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sides: dict[str, tuple[Side, Side]] = {}

    def resident(name: str, images: object, hardware: Hardware) -> augment.Once:
        made = on_device(name, images, hardware)

        def once(epoch: int) -> Any:
            order.append("device")
            return made(epoch)

        return once

    def compare(self: Effort, name: str, unit: str, *pair: Side) -> Figure:
        order.append("compare")
        sides[name] = pair[0], pair[1]
        return Figure(name, 1.0, unit)

    on_device: Any = augment._resident
    monkeypatch.setattr(augment, "_resident", resident)
    monkeypatch.setattr(Effort, "compare", compare)
    monkeypatch.setattr(augment, "find_spec", lambda name: None)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    # No kernel runs on meta tensors, but shapes and devices are those of a GPU's.
    hardware = replace(Hardware.settle("cpu"), device=torch.device("meta"), compile=True)
    args = argparse.Namespace(quick=True, rounds=None, repeat=None)
    against_torchvision, compilation, device = augment._compare("light", pictures(6), args, hardware)
    assert order == ["compare", "device", "compare"]
    assert (compilation.name, compilation.unit) == ("light, batch 6, on meta, compilation", "s")
    assert device.name == "light, batch 6, on meta, against the CPU"
    assert sides[device.name][1] is sides[against_torchvision.name][0]
    made, labels = on_device("light", pictures(6), hardware)(0)
    assert (made.shape, made.dtype, made.device.type) == ((6, 3, SIDE, SIDE), torch.float32, "meta")
    assert labels.device.type == "meta"


def test_bench_loader_compares_both_loaders(tmp_path: Path) -> None:
    path = tmp_path / "loader.json"
    sizes = ["--batch", "16", "--images", "64", "--reference-images", "32", "--workers", "1", "--rounds", "1"]
    assert cli.main(["bench", "loader", *sizes, "--recipe", "light", "--device", "cpu", "--json", str(path)]) == 0
    assert [figure["name"] for figure in read(path)] == ["light, 1 workers, batch 16", "light, resident, batch 16"]


def test_the_first_batch_of_a_compiled_loader_is_a_figure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Hardware.settle
    monkeypatch.setattr(Hardware, "settle", lambda *given: replace(settle(*given), compile=True))
    path = tmp_path / "loader.json"
    sizes = ["--batch", "16", "--images", "64", "--reference-images", "32", "--workers", "1", "--quick"]
    assert cli.main(["bench", "loader", *sizes, "--recipe", "base", "--device", "cpu", "--json", str(path)]) == 0
    title = "base, resident, batch 16"
    assert [(figure["name"], figure["unit"], figure["ratio"] is None) for figure in json.loads(path.read_text())] == [
        ("base, 1 workers, batch 16", "images/s", False),
        (f"{title}, compilation", "s", True),
        (title, "images/s", False),
    ]
