"""The page as an HTML document: sections, well-formedness, and the data of its charts."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert

from wrnexp.report.ablation import Ablation, ChangeEffect, Worth
from wrnexp.report.build import build, compare
from wrnexp.report.page.chart import Row
from wrnexp.report.page.differences import effects_chart
from wrnexp.report.page.render import _soft
from wrnexp.report.tables import Report
from wrnexp.stats import Paired

WriteRun = Callable[..., Path]
SECTIONS = [
    "summary", "arms", "curves", "cost", "factorial", "calibration", "classes", "images", "literature", "configs",
    "provenance", "left-out", "reading",
]  # fmt: skip
VOID = {"meta", "link", "input", "img", "br", "wbr", "line"}
HOSTILE = '</script><img src=x onerror="alert(1)">'


class Document(HTMLParser):
    """Elements with their attributes, text by section, and the charts' JSON; elements must close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.charts: list[dict[str, Any]] = []
        self.text = ""
        self.json = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        self.json = tag == "script" and attributes.get("type") == "application/json"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.json:
            self.charts.append(json.loads(data))
            self.json = False
        elif self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def _document(report: Report) -> Document:
    return Document((report.folder / "index.html").read_text())


def _rows(document: Document, name: str, variant: int = 0) -> list[Row]:
    (chart,) = (chart for chart in document.charts if chart["name"] == name)
    rows: list[Row] = chart["variants"][variant]["spec"]["data"]["values"]
    return rows


def test_the_page_has_its_sections_in_order_and_closes_what_it_opens(grid: Report) -> None:
    document = _document(grid)
    assert document.open == []
    assert [attributes["id"] for tag, attributes in document.elements if tag == "section"] == SECTIONS
    links = [attributes["href"] for tag, attributes in document.elements if tag == "a"]
    assert links == ["#main", *(f"#{name}" for name in SECTIONS)]
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_summary_has_three_sentences(grid: Report) -> None:
    page = (grid.folder / "index.html").read_text()
    sentences = [re.sub("<wbr>", "", line) for line in re.findall(r'<p class="lead">(.*)</p>', page)]
    assert len(sentences) == 3
    assert sentences[0].startswith("9 arms with 27 runs on cifar100; the highest mean test accuracy is ")
    assert sentences[1].startswith("Of 8 arms against light model.dropout=0.0,optim.label_smoothing=0.0: ")
    assert sentences[2] == "Each run read the test set 20 times, and nothing was selected on it."


def test_nothing_is_loaded_from_outside(grid: Report) -> None:
    document = _document(grid)
    for tag, attributes in document.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert tag not in ("iframe", "object", "embed", "base", "form")
    page = (grid.folder / "index.html").read_text()
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert not any("url" in variant["spec"]["data"] for chart in document.charts for variant in chart["variants"])


def test_twenty_seven_runs_make_less_than_three_megabytes(grid: Report) -> None:
    assert (grid.folder / "index.html").stat().st_size < 3_000_000


def test_every_view_of_every_chart_compiles_without_a_warning(grid: Report, capfd: pytest.CaptureFixture[str]) -> None:
    names = []
    for chart in _document(grid).charts:
        for variant in chart["variants"]:
            picture = vl_convert.vegalite_to_svg(variant["spec"] | {"width": 600})
            assert picture.count("<path") > 2, (chart["name"], variant["name"])
            assert "NaN" not in picture
        names.append(chart["name"])
    assert names == [
        "differences", "learning", "time", "pareto", "factorial", "reliability", "superclasses", "class-changes",
    ]  # fmt: skip
    assert "WARN" not in capfd.readouterr().err


def test_every_chart_has_its_words_and_every_table_its_heads(grid: Report) -> None:
    document = _document(grid)
    plots = [attributes for _, attributes in document.elements if attributes.get("class") == "plot"]
    assert len(plots) == len(document.charts)
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 60 for attributes in plots)
    tags = [tag for tag, _ in document.elements]
    assert tags.count("caption") == tags.count("table") > 8
    assert all(attributes["scope"] in ("col", "row") for tag, attributes in document.elements if tag == "th")


def test_the_curves_are_the_mean_and_range_of_the_seeds(grid: Report) -> None:
    arm = grid.arms[3]
    curves = [[row["test_accuracy"] for row in run.rows] for run in arm.runs]
    rows = [row for row in _rows(_document(grid), "learning") if row["arm"] == arm.label]
    assert [row["epoch"] for row in rows] == list(range(1, 21))
    assert [row["mean"] for row in rows] == pytest.approx(100 * np.mean(curves, 0), rel=1e-5)
    assert [row["low"] for row in rows] == pytest.approx(100 * np.min(curves, 0), rel=1e-5)
    assert [row["high"] for row in rows] == pytest.approx(100 * np.max(curves, 0), rel=1e-5)
    errors = [row["mean"] for row in _rows(_document(grid), "learning", 1) if row["arm"] == arm.label]
    assert errors == pytest.approx(100 - 100 * np.mean(curves, 0), rel=1e-5)


def test_time_to_accuracy_counts_the_seconds_of_training(grid: Report) -> None:
    rows = _rows(_document(grid), "time")
    arm = grid.arms[0]
    for level in {row["level"] for row in rows}:
        times = []
        for run in arm.runs:
            elapsed = accumulate(row["seconds"] for row in run.rows)
            first = [time for time, row in zip(elapsed, run.rows, strict=True) if row["test_accuracy"] >= level / 100]
            times += first[:1]
        (level_row,) = (row for row in rows if row["level"] == level and row["arm"] == arm.label)
        assert level_row["reached"] == len(times)
        assert level_row["seconds"] == (pytest.approx(np.mean(times), rel=1e-5) if len(times) == 3 else None)


def test_the_heat_map_and_the_differences_hold_the_report_s_figures(grid: Report) -> None:
    document = _document(grid)
    figures = json.loads((grid.folder / "report.json").read_text())
    means = [100 * cell["mean"] for row in figures["factorial"]["cells"] for cell in row]
    assert [row["mean"] for row in _rows(document, "factorial")] == pytest.approx(means, rel=1e-5)
    differences = [100 * pair["difference"] for pair in figures["pairs"]]
    assert [row["difference"] for row in _rows(document, "differences")] == pytest.approx(differences, rel=1e-5)


def test_superclasses_have_names_and_accuracies(grid: Report) -> None:
    from wrnexp.report.page.classes import CIFAR100

    rows = _rows(_document(grid), "superclasses")
    assert {row["name"] for row in rows} == set(CIFAR100)
    (fish,) = (row for row in rows if row["name"] == "fish")
    names = sorted(name for names in CIFAR100.values() for name in names.split())
    labels = [names.index(name) for name in CIFAR100["fish"].split()]
    baseline, compared = (
        [_accuracy_on(run.folder, labels) for run in arm.runs] for arm in (grid.arms[0], grid.arms[1])
    )  # arms are sorted, the baseline first
    assert fish["before"] == pytest.approx(100 * np.mean(baseline), rel=1e-5)
    assert fish["after"] == pytest.approx(100 * np.mean(compared), rel=1e-5)


def _accuracy_on(folder: Path, labels: list[int]) -> float:
    stored = np.load(folder / "predictions.npz")
    inside = np.isin(stored["labels"], labels)
    return float((stored["logits"][inside].argmax(1) == stored["labels"][inside]).mean())


def test_labels_and_errors_from_outside_stay_text(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for seed in range(2):
        write_run("base", seed, 0.7, curve=[0.5, 0.7])
        write_run(HOSTILE, seed, 0.71, folder=f"hostile-{seed}", curve=[0.5, 0.71])
    write_run("base", 9, 0.7, status="failed", error=HOSTILE)
    report = build([outputs], tmp_path / "report")
    document = _document(report)
    assert [tag for tag, _ in document.elements].count("img") == 0
    assert {row["arm"] for row in _rows(document, "learning")} == {"base", HOSTILE}
    assert document.text.count(HOSTILE) > 3


def test_two_arms_have_their_claims_and_no_factorial(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        write_run("base", seed, 0.7 + seed / 100)
        write_run("light", seed, 0.69 + seed / 90)
    document = _document(compare("base", "light", [outputs], tmp_path / "report"))
    sections = [attributes["id"] for tag, attributes in document.elements if tag == "section"]
    assert sections[:3] == ["summary", "claims", "arms"]
    assert "factorial" not in sections
    assert "No run's predictions could be read" in document.text
    assert "Not used: 6 runs, there is no predictions.npz." in document.text


def test_validation_accuracy_is_shown_where_the_test_set_was_read_at_the_end(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    folder = write_run("base", 0, 0.7, curve=[None, 0.7], test_looks=1)
    rows = [
        json.dumps({"epoch": epoch, "val_accuracy": value, "test_accuracy": None, "seconds": 8.0})
        for epoch, value in ((1, 0.31), (2, 0.62))
    ]
    (folder / "metrics.jsonl").write_text("\n".join(rows))
    document = _document(build([outputs], tmp_path / "report"))
    assert [row["mean"] for row in _rows(document, "learning")] == [31.0, 62.0]
    assert "The test set was read at the end only, so validation accuracy is shown." in document.text
    times = {row["level"]: row["seconds"] for row in _rows(document, "time")}
    assert (times[30], times[60]) == (8.0, 16.0)


def test_the_least_record_makes_a_page(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("base", 0, 0.7, cost={"train_seconds": 0.0, "parameters": None}, metrics={"test_accuracy": 0.7})
    document = _document(build([outputs], tmp_path / "report"))
    assert "There is one arm, and nothing to compare it with." in document.text
    assert "No run recorded its cost." in document.text
    assert document.charts == []


def test_an_earlier_page_is_replaced(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    write_run("base", 0, 0.7)
    build([outputs], tmp_path / "report")
    write_run("light", 0, 0.7)
    build([outputs], tmp_path / "report")
    assert "Report: base and light" in (tmp_path / "report" / "index.html").read_text()


def _effect(having: str, difference: float, p_holm: float | None) -> ChangeEffect:
    test = Paired(3, difference, (difference - 0.01, difference + 0.01), p_holm, 0.004)
    return ChangeEffect("without", having, test, p_holm, None, None)


def test_significant_effects_of_an_ablation_are_filled() -> None:
    changes = [
        Worth("dropout", [], _effect("b", 0.02, 0.001), _effect("a + dropout", 0.01, 0.2), None),
        Worth("jitter", [], _effect("b", -0.03, 0.04), None, _effect("b", -0.03, 0.04)),
        Worth("erasing", [], None, None, None),
    ]
    chart = effects_chart(Ablation("sweep", "a", "b", None, changes, [], None, 4, []), 1)
    assert chart is not None
    (variant,) = chart.variants
    rows = variant.spec["data"]["values"]
    assert [(row["change"], row["place"], row["difference"], row["resolved"]) for row in rows] == [
        ("dropout", "in b", 2.0, True),
        ("dropout", "added to a", 1.0, False),
        ("jitter", "in b", -3.0, True),
        ("jitter", "its step on the ladder", -3.0, True),
    ]
    assert [(row["low"], row["high"]) for row in rows[:2]] == [(1.0, 3.0), (0.0, 2.0)]
    picture = vl_convert.vegalite_to_svg(variant.spec | {"width": 600})
    points = re.findall(r'<path[^>]*aria-roledescription="point"[^>]*>', picture)
    filled = [re.findall("change: (.*?); place: (.*?);", point)[0] for point in points if " fill=" in point]
    assert (len(points), len(filled)) == (4, 3)
    assert ("dropout", "added to a") not in filled
    assert "The largest is +2.00 (dropout, in b)." in chart.text


def test_an_ablation_without_effects_has_no_chart() -> None:
    changes = [Worth("erasing", [], None, None, None)]
    assert effects_chart(Ablation("sweep", "a", "b", None, changes, [], None, 0, []), 1) is None


def test_settings_may_be_broken_and_numbers_may_not() -> None:
    markup = _soft("light model.dropout=0.25,optim.label_smoothing=0.1 of 10,000 <images>, a.png")
    assert markup == (
        "light model.<wbr>dropout=0.25,<wbr>optim.<wbr>label_<wbr>smoothing=0.1 of 10,000 &lt;images&gt;, a.png"
    )
