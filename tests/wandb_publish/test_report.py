"""The W&B report: golden files, the texts of `wrnexp report`, and panels over exactly its runs."""

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.wandb_publish.conftest import GOLDEN
from wrnexp.report.build import build, gathered
from wrnexp.report.text.summary_text import question
from wrnexp.runs.record import read_record, record_folders, write_record
from wrnexp.wandb_publish.report import spec, titled, writeup


@pytest.fixture
def folder(dashboards: ModuleType, tmp_path: Path) -> Path:
    sweep_folder: Path = dashboards.records(tmp_path)
    return sweep_folder


def written(folder: Path) -> Any:
    return json.loads(spec(writeup(gathered([folder], folder / "report"), titled([folder]))))["blocks"]


def panels(blocks: Any) -> list[Any]:
    (grid,) = (block for block in blocks if block["type"] == "panel-grid")
    grid_panels: list[Any] = grid["metadata"]["panelBankSectionConfig"]["panels"]
    return grid_panels


def test_reports_are_their_golden_files(dashboards: ModuleType, folder: Path) -> None:
    for name, made in [
        ("report", dashboards.report_json(folder)),
        ("report_factorial", dashboards.report_json(dashboards.FACTORIAL)),
    ]:
        golden = (GOLDEN / "wandb" / f"{name}.json").read_text()
        assert made == golden, f"{name}: run `make golden` and read the difference"


def test_its_words_are_those_of_report_md(folder: Path, tmp_path: Path) -> None:
    build([folder], tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text()
    blocks = written(folder)
    texts = [block["content"] for block in blocks if block["type"] == "markdown-block"]
    heads = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    assert all(text in page for text in texts)
    # All of the page's sections but its plots, in their place live panels.
    assert heads == ["Question", "What was found", "The runs", *re.findall(r"(?m)^## (?!Plots$)(.+)$", page)]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    together = "\n".join(texts)
    for row in [*report["claims"], *report["pairs"]]:
        assert row["verdict"] in together
    assert all(entry["reason"] in together for entry in report["excluded"])
    assert "content digests: test d3cd5d87 and train 36ce7a70" in together
    assert "28e0455" in together


def test_no_picture_of_the_page_is_pointed_at(dashboards: ModuleType) -> None:
    assert "](" not in json.dumps(written(dashboards.FACTORIAL))


def test_the_panels_show_the_completed_runs_of_the_report_and_no_other(folder: Path) -> None:
    (grid,) = (block for block in written(folder) if block["type"] == "panel-grid")
    (runs,) = grid["metadata"]["runSets"]
    state, ids = runs["filters"]["filters"]
    assert (state["key"]["name"], state["value"]) == ("state", "finished")
    assert (ids["key"], ids["op"]) == ({"section": "config", "name": "run.value.run_id"}, "IN")
    run_records = [read_record(run_folder) for run_folder in record_folders(folder)]
    assert ids["value"] == sorted(record.run_id for record in run_records if record.status == "completed")
    assert runs["grouping"] == []  # the scatter plot shows single runs


def test_runs_are_grouped_by_recipe_where_each_arm_is_one(folder: Path) -> None:
    assert {panel["config"].get("groupBy") for panel in panels(written(folder))} == {"jobType", None}


def test_runs_are_grouped_by_label_where_the_records_know_no_recipe(folder: Path) -> None:
    for run_folder in list(record_folders(folder)):
        record = read_record(run_folder)
        record.provenance.pop("recipe", None)
        write_record(run_folder, record)
    assert {panel["config"].get("groupBy") for panel in panels(written(folder))} == {"run.value.label", None}


def test_a_factorial_has_a_panel_for_each_setting(dashboards: ModuleType) -> None:
    groups = {panel["config"].get("groupBy") for panel in panels(written(dashboards.FACTORIAL))}
    assert groups == {"run.value.label", "model.value.dropout", "optim.value.label_smoothing", None}


def test_no_panel_lies_over_another(dashboards: ModuleType) -> None:
    layouts = [panel["layout"] for panel in panels(written(dashboards.FACTORIAL))]
    fields = [
        (x, y) for at in layouts for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(fields)) == len(fields)
    assert max(x for x, _ in fields) < 24


def test_the_question_is_that_of_the_arms(dashboards: ModuleType, folder: Path) -> None:
    two_arms = gathered([folder], folder)
    assert question(two_arms) == "Is light as accurate as base on the test set?"
    assert "model.dropout and optim.label_smoothing" in question(gathered([dashboards.FACTORIAL], folder))
    single_arm = gathered([folder / "base-0"], folder)
    assert question(single_arm) == "How accurate is base on the test set?"


def test_a_title_has_the_folders_names_and_a_length_that_wandb_takes(tmp_path: Path) -> None:
    assert titled([tmp_path / "a", tmp_path / "b" / "c"]) == "wrnexp report on a, c"
    assert len(titled([tmp_path / ("x" * 100), tmp_path / ("y" * 100)])) == 128
