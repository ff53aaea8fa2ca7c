"""The page in headless Chromium: no console output, fast, fits every screen, and every control works.

Needs the extra `browser` and a Chromium (Debian's package `chromium`, or `CHROMIUM=/path`); skipped without.
"""

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wrnexp.report.tables import Report

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: Debian's package chromium, or CHROMIUM=/path")

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DRAWN = "document.documentElement.dataset.charts === 'drawn'"
FOLDED = "details:not(.rows), #chart-factorial details"
CONTROLS = "main button, main select, main input, main summary, #theme"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Opened:
    """An open page with its console messages and requested URLs."""

    def __init__(self, browser: Any, report: Report, width: int = 1280, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **context)
        self.page = self.context.new_page()
        self.console_messages: list[str] = []
        self.requested_urls: list[str] = []
        self.page.on("console", lambda message: self.console_messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.console_messages.append(str(error)))
        self.page.on("request", lambda request: self.requested_urls.append(request.url))
        self.address = (report.folder / "index.html").resolve().as_uri()
        self.page.goto(self.address)
        self.page.wait_for_function(DRAWN)


@pytest.fixture
def opened(browser: Any, grid: Report) -> Iterator[Opened]:
    opened_page = Opened(browser, grid)
    yield opened_page
    opened_page.context.close()


def test_it_logs_nothing_requests_nothing_and_opens_within_a_second(opened: Opened) -> None:
    times = []
    for _ in range(4):
        times.append(opened.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        opened.page.reload()
        opened.page.wait_for_function(DRAWN)
    assert min(times) < 1000
    assert opened.console_messages == []
    assert {url for url in opened.requested_urls if not url.startswith(("data:", "blob:"))} == {opened.address}
    assert opened.page.locator(".plot svg").count() == opened.page.locator(".plot").count() == 8


def test_every_control_changes_the_page(opened: Opened) -> None:
    page = opened.page
    unused = page.locator(CONTROLS).count()
    for figure in page.locator("figure.chart").all():
        unused -= _uses(page, figure)
    for summary in page.locator("main details:not(.rows) > summary").all():
        table = summary.locator("xpath=..").locator("table")
        assert not table.is_visible()
        summary.click()
        assert table.is_visible()
        unused -= 1
    grounds = set()
    for name in ("light", "dark"):
        page.locator("#theme").select_option(name)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == {"rgb(255, 255, 255)", "rgb(20, 23, 28)"}
    assert unused - 1 == 0
    assert opened.console_messages == []


def _uses(page: Any, figure: Any) -> int:
    """Use each control of a chart, check that the drawing changes, and return the number of controls."""
    used = 0
    for option in figure.locator("select.variant option").all()[::-1]:
        value = option.get_attribute("value")
        if value != figure.locator("select.variant").input_value():
            _changes(page, figure, lambda value=value: figure.locator("select.variant").select_option(value))
    used += int(figure.locator("select.variant").count())
    for box in figure.locator("input.log").all():
        _changes(page, figure, box.check)
        _changes(page, figure, box.uncheck)
        used += 1
    if figure.locator("input.from").count():
        for name, value in (("from", "5"), ("to", "12")):
            _changes(page, figure, lambda name=name, value=value: _set(figure.locator(f"input.{name}"), value))
        _changes(page, figure, figure.locator("button.whole").click)
        assert figure.locator("input.to").input_value() == "20"
        used += 3
    for box in figure.locator("input.arm").all():
        _changes(page, figure, box.uncheck)
        used += 1
    for button in figure.locator("button.all, button.none").all():
        _changes(page, figure, button.click)
        used += 1
    with page.expect_download() as waiting:
        figure.locator("button.csv").click()
    assert waiting.value.suggested_filename.endswith(".csv")
    figure.locator("details.rows summary").click()
    assert figure.locator("details.rows tbody tr").count() > 5
    return used + 2


def _set(field: Any, value: str) -> None:
    field.fill(value)
    field.press("Tab")


def _changes(page: Any, figure: Any, act: Any) -> None:
    """Call `act` and wait until the drawing changes."""
    element = figure.locator(".plot").element_handle()
    before = element.inner_html()
    act()
    page.wait_for_function("([place, before]) => place.innerHTML !== before", arg=[element, before], timeout=5000)


def test_the_csv_holds_the_data_of_the_chart(opened: Opened, grid: Report, tmp_path: Path) -> None:
    figure = opened.page.locator("#chart-learning")
    with opened.page.expect_download() as waiting:
        figure.locator("button.csv").click()
    waiting.value.save_as(tmp_path / "found.csv")
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * 20
    assert list(rows[0]) == ["arm", "epoch", "mean", "low", "high", "seeds"]
    run = grid.arms[0].runs[0]
    shares = [seed_run.rows[-1]["test_accuracy"] for seed_run in grid.arms[0].runs]
    (last,) = (row for row in rows if row["arm"] == run.record.label and row["epoch"] == "20")
    assert float(last["mean"]) == pytest.approx(100 * sum(shares) / 3, rel=1e-5)


def test_a_drag_across_the_curves_zooms_in(opened: Opened) -> None:
    figure = opened.page.locator("#chart-learning")
    figure.scroll_into_view_if_needed()
    box = figure.locator(".plot").bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 90, steps=3)
    assert figure.locator(".band").count() == 1
    opened.page.mouse.up()
    ends = [int(figure.locator(f"input.{name}").input_value()) for name in ("from", "to")]
    assert 6 <= ends[0] <= 10
    assert 14 <= ends[1] <= 18


def test_the_keyboard_reaches_every_control(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.evaluate("(found) => document.querySelectorAll(found).forEach((one) => one.dataset.wanted = '1')", CONTROLS)
    page.locator("#theme").focus()
    for _ in range(page.locator(CONTROLS).count() + 60):
        page.evaluate("delete document.activeElement.dataset.wanted")
        page.keyboard.press("Tab")
    assert page.locator("[data-wanted]").count() == 0
    box = page.locator("#chart-pareto input.arm").first
    box.focus()
    _changes(page, page.locator("#chart-pareto"), lambda: page.keyboard.press("Space"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Any, grid: Report, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra browser")
    opened = Opened(browser, grid, color_scheme=scheme)
    options = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    if scheme == "light":
        opened.page.evaluate(
            "(found) => document.querySelectorAll(found).forEach((one) => { one.open = true; })", FOLDED
        )
    violations = axe.Axe().run(opened.page, options=options).response["violations"]
    opened.context.close()
    serious = [fault for fault in violations if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in serious] == []


@pytest.mark.parametrize("width", [360, 768, 3840])
def test_nothing_is_wider_than_the_window(browser: Any, grid: Report, width: int) -> None:
    opened = Opened(browser, grid, width)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    for plot in opened.page.locator(".plot").all():
        assert plot.locator("svg").bounding_box()["width"] <= plot.bounding_box()["width"] + 1
    opened.context.close()


def test_print_is_light_whatever_the_theme(browser: Any, grid: Report) -> None:
    opened = Opened(browser, grid, color_scheme="dark")
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not opened.page.locator("nav").is_visible()
    assert not opened.page.locator("button.csv").first.is_visible()
    assert opened.page.locator(".plot svg").first.is_visible()
    opened.context.close()
