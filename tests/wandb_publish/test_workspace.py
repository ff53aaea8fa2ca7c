"""The workspace: its golden file, and that every key of its panels exists in runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.wandb_publish.conftest import GOLDEN
from wrnexp.config.identity import flat
from wrnexp.runs.record import Cost, read_metrics, read_record

MEDIA = {"media/augmented", "media/mistakes", "media/confusion", "media/reliability"}


@pytest.fixture(scope="session")
def spec(dashboards: ModuleType) -> Any:
    return json.loads(dashboards.workspace_json())["spec"]["section"]


@pytest.fixture(scope="session")
def panels(spec: Any) -> list[Any]:
    return [panel for section in spec["panelBankConfig"]["sections"] for panel in section["panels"]]


@pytest.fixture(scope="session")
def config_keys() -> set[str]:
    """Return W&B's names of a preset's config keys, with `value` after the first part."""
    keys = flat(yaml.safe_load((GOLDEN / "light.yaml").read_text()))
    return {".".join([first, "value", *rest]) for first, *rest in (key.split(".") for key in keys)}


@pytest.fixture
def figures(trained_run: Path) -> set[str]:
    """Return the keys of a run's summary."""
    return {*read_record(trained_run).metrics, *Cost.model_fields, "val_accuracy"}


def of_kind(panels: list[Any], *kinds: str) -> Iterator[dict[str, Any]]:
    yield from (panel["config"] for panel in panels if panel["viewType"] in kinds)


def test_the_workspace_is_its_golden_file(dashboards: ModuleType) -> None:
    golden = (GOLDEN / "wandb" / "workspace.json").read_text()
    assert dashboards.workspace_json() == golden, "run `make golden` and read the difference"


def test_curves_are_of_what_is_logged_against_epochs_and_not_smoothed(panels: list[Any], trained_run: Path) -> None:
    logged = {*read_metrics(trained_run)[0], "peak_memory_bytes"}
    curves = list(of_kind(panels, "Run History Line Plot"))
    assert {key for curve in curves for key in curve["metrics"]} <= logged
    assert {curve["xAxis"] for curve in curves} == {"epoch"}
    assert {(curve["smoothingType"], curve["smoothingWeight"]) for curve in curves} == {("none", 0)}


def test_bars_and_axes_are_of_what_the_summary_holds(
    panels: list[Any], figures: set[str], config_keys: set[str]
) -> None:
    assert {key for bars in of_kind(panels, "Bar Chart") for key in bars["metrics"]} <= figures
    assert {config["targetKey"] for config in of_kind(panels, "Parameter Importance")} == {"val_accuracy"}
    (parallel,) = of_kind(panels, "Parallel Coordinates Plot")
    axes = [column["accessor"] for column in parallel["columns"]]
    axes += [config[axis] for config in of_kind(panels, "Scatter Plot") for axis in ("xAxis", "yAxis")]
    allowed = {f"summary:{key}" for key in figures} | {f"config:{key}" for key in config_keys}
    assert set(axes) <= allowed
    assert "config:optim.value.lr" in axes


def test_groups_are_recipes_or_settings_with_a_band(panels: list[Any], config_keys: set[str]) -> None:
    grouped = [config for config in of_kind(panels, "Run History Line Plot", "Bar Chart") if "groupBy" in config]
    assert {config["groupBy"] for config in grouped} == {
        "jobType",
        "model.value.dropout",
        "optim.value.label_smoothing",
    }
    assert {config["groupBy"] for config in grouped} - {"jobType"} <= config_keys
    assert {(config["groupAgg"], config["groupArea"], config["aggregate"]) for config in grouped} == {
        ("mean", "stddev", True)
    }


def test_pictures_are_those_that_a_run_keeps(panels: list[Any]) -> None:
    media_keys = {key for browser in of_kind(panels, "Media Browser") for key in browser["mediaKeys"]}
    (table,) = of_kind(panels, "Weave")
    media_keys.add(table["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"])
    assert media_keys == MEDIA


def test_the_run_table_is_grouped_by_recipe_and_shows_completed_runs(
    spec: Any, figures: set[str], config_keys: set[str]
) -> None:
    (runs,) = spec["runSets"]
    assert runs["grouping"] == [{"section": "run", "name": "jobType"}]
    (only,) = runs["filters"]["filters"]
    assert (only["key"], only["op"], only["value"]) == ({"section": "run", "name": "state"}, "=", "finished")
    columns = {tuple(column.split(":")) for column in runs["runFeed"]["columnOrder"]}
    assert {name for section, name in columns if section == "config"} <= {*config_keys, "seed.value"}
    assert {name for section, name in columns if section == "summary"} <= figures


def test_single_runs_are_not_hidden_by_the_tables_grouping(spec: Any) -> None:
    panel_settings = [
        spec["settings"],
        *(section["localPanelSettings"] for section in spec["panelBankConfig"]["sections"]),
    ]
    assert [section["useRunsTableGroupingInPanels"] for section in panel_settings] == [False] * 6


def test_every_panel_has_an_id_of_its_own(panels: list[Any]) -> None:
    assert len({panel["__id__"] for panel in panels}) == len(panels)
