"""A factorial found among arms, from records to report.json and the page, against statsmodels and sums by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests

from wrnexp.report.build import build

WriteRun = Callable[..., Path]
DROPOUT, SMOOTHING = [0.0, 0.15, 0.3], [0.0, 0.1]


@pytest.fixture
def grid(write_run: WriteRun) -> np.ndarray:
    """Write 3 x 2 arms of 4 seeds and return their accuracies."""
    chance = np.random.default_rng(8)
    data: np.ndarray = 0.7 + 0.01 * chance.standard_normal((3, 2, 4)) + 0.02 * chance.standard_normal(4)
    data[2] += 0.03
    for row, dropout in enumerate(DROPOUT):
        for column, smoothing in enumerate(SMOOTHING):
            for seed in range(4):
                _write(write_run, dropout, smoothing, seed, float(data[row, column, seed]))
    return data


def _write(write_run: WriteRun, dropout: float, smoothing: float, seed: int, accuracy: float) -> None:
    config = {"model": {"dropout": dropout}, "optim": {"label_smoothing": smoothing}, "seed": seed}
    write_run(f"light d={dropout} s={smoothing}", seed, accuracy, config=config)


def _found(outputs: Path, tmp_path: Path) -> Any:
    build([outputs], tmp_path / "report")
    return json.loads((tmp_path / "report" / "report.json").read_text())["factorial"]


def test_every_figure_is_statsmodels(grid: np.ndarray, outputs: Path, tmp_path: Path) -> None:
    found = _found(outputs, tmp_path)
    assert found["keys"] == ["model.dropout", "optim.label_smoothing"]
    assert found["levels"] == [["0.0", "0.15", "0.3"], ["0.0", "0.1"]]
    assert [[cell["mean"] for cell in row] for row in found["cells"]] == pytest.approx(grid.mean(2), abs=1e-9)
    long = pd.DataFrame([(*at, grid[at]) for at in np.ndindex(3, 2, 4)], columns=["a", "b", "seed", "y"])
    table = AnovaRM(long, "y", "seed", within=["a", "b"]).fit().anova_table
    assert [test["p"] for test in found["tests"]] == pytest.approx(table["Pr > F"].tolist(), abs=1e-9)
    assert [test["f"] for test in found["tests"]] == pytest.approx(table["F Value"].tolist(), rel=1e-9)
    first = [effect for effect in found["effects"] if effect["place"][1] == 0]
    assert [effect["difference"] for effect in first] == pytest.approx(
        [(grid[level] - grid[0]).mean() for level in (1, 2)], abs=1e-12
    )
    corrected = multipletests([effect["p"] for effect in first], method="holm")[1]
    assert [effect["p_holm"] for effect in first] == pytest.approx(corrected, abs=1e-9)


def test_the_page_has_the_two_way_table_and_says_what_it_shows(grid: np.ndarray, outputs: Path, tmp_path: Path) -> None:
    _found(outputs, tmp_path)
    page = (tmp_path / "report" / "report.md").read_text()
    means = [100 * grid[0, column].mean() for column in range(2)]
    assert f"| 0.0 | {means[0]:.2f} (SD {100 * grid[0, 0].std(ddof=1):.2f}) |" in page
    assert f"| {100 * grid[0].mean():.2f} |" in page
    assert "model.dropout changes test accuracy, averaged over the other setting (F-test, p" in page
    assert "Resolved after correction: model.dropout: 0.3 against 0.0" in page
    assert "model.dropout 0.3 against 0.0, at optim.label_smoothing 0.1 more than at 0.0" in page
    assert (tmp_path / "report" / "heat.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_has_a_table_and_no_tests(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for dropout in DROPOUT:
        for smoothing in SMOOTHING:
            _write(write_run, dropout, smoothing, 0, 0.7 + dropout / 10)
    found = _found(outputs, tmp_path)
    assert (found["tests"], found["effects"]) == ([], [])
    assert "nothing can be said of effects" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.usefixtures("grid")
def test_a_cell_that_is_missing_or_a_third_key_is_no_factorial(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    assert _found(outputs, tmp_path) is not None
    config = {"model": {"dropout": 0.3}, "optim": {"label_smoothing": 0.2}, "seed": 0}
    write_run("one more", 0, 0.7, config=config)
    assert _found(outputs, tmp_path) is None
    assert not (tmp_path / "report" / "heat.png").exists()
