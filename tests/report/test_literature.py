"""Arms beside published rows of the same net."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wrnexp.report.build import build
from wrnexp.report.literature import published

WriteRun = Callable[..., Path]
LIGHT: dict[str, Any] = {
    "model": {"depth": 16, "width": 8, "dropout": 0.25}, "optim": {"epochs": 85, "weight_decay": 0.0001, "lr": 0.8},
    "augment": {"policy": "randaugment"},
}  # fmt: skip


def _found(outputs: Path, tmp_path: Path) -> tuple[Any, str]:
    build([outputs], tmp_path / "report")
    folder = tmp_path / "report"
    return json.loads((folder / "report.json").read_text())["literature"], (folder / "report.md").read_text()


def test_an_arm_is_set_beside_the_rows_of_its_net(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.70, 0.72)):
        write_run("light", seed, accuracy, config=LIGHT | {"seed": seed})
    rows, page = _found(outputs, tmp_path)
    paper = next(row for row in rows if row["published"] == "WRN-16-8")
    assert {row["published"] for row in rows} == {"WRN-16-8", "WRN-16-8, AlignMixup"}
    assert paper["published_accuracy"] == 0.7957
    assert paper["accuracy"] == pytest.approx(0.71)
    assert "optim.epochs 200 (here 85)" in paper["differences"]
    assert "model.dropout 0.0 (here 0.25)" in paper["differences"]
    assert "augment.policy none (here randaugment)" in paper["differences"]
    assert not any("model.depth" in one for one in paper["differences"])
    assert "## Beside what is published" in page
    assert "| light | 71.00 | WRN-16-8 | 79.57 | -8.57 |" in page


def test_a_part_of_the_images_is_a_difference_and_equal_numbers_are_none(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    config = {
        "model": {"depth": 16, "width": 8, "dropout": 0},
        "optim": {"epochs": 200, "weight_decay": 5e-4},
        "seed": 0,
    }
    write_run("small", 0, 0.5, config=config, data={"train": 5000, "val": 1000, "test": 2000})
    rows, _ = _found(outputs, tmp_path)
    paper = next(row for row in rows if row["published"] == "WRN-16-8")
    assert "all 50,000 training images (here 5,000)" in paper["differences"]
    assert "all 10,000 test images (here 2,000)" in paper["differences"]
    assert not any(
        one.startswith(("model.dropout", "optim.epochs", "optim.weight_decay")) for one in paper["differences"]
    )


def test_other_nets_and_other_data_have_no_row(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("odd", 0, 0.5, config={"model": {"depth": 22, "width": 3}, "seed": 0})
    rows, page = _found(outputs, tmp_path)
    assert rows == []
    assert "No published row is known here of these nets." in page
    write_run("odd", 0, 0.5, config=LIGHT | {"seed": 0}, data={"name": "shapes"})
    rows, page = _found(outputs, tmp_path)
    assert rows == []
    assert "Beside what is published" not in page


def test_the_rows_are_those_of_the_papers() -> None:
    known = {row.net: row.accuracy for row in published()}
    assert known["WRN-28-10"] == 0.8075
    assert known["WRN-28-10 with dropout"] == 0.8115
    assert all(row.recipe.keys() >= {"model.depth", "model.width"} for row in published())
    assert all(not isinstance(value, str) or value.isalpha() for row in published() for value in row.recipe.values())
