"""Hostile text in every field of records and sweep.json stays text: on the page, in Markdown, on a terminal, in W&B."""

import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.hostile import AFTER, BEFORE, hostile, planted
from tests.report.page.made import write_run
from wrnexp.process.terminal import Terminal, printable
from wrnexp.report.build import build
from wrnexp.report.tables import Report
from wrnexp.report.text.console import print_report
from wrnexp.report.text.markdown import sections
from wrnexp.runs.record import Signature, read_record, record_folders, write_record
from wrnexp.sweeps.sweep_json import JobEntry, Sweep

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
ROLES: dict[str, list[dict[str, Any]]] = {
    "a": [{"kind": "a"}, {"kind": "ladder", "ladder": "u", "step": 0, "changes": []}],
    "b": [{"kind": "b"}, {"kind": "ladder", "ladder": "u", "step": 1, "changes": ["u"]}],
    "a + u": [{"kind": "add-one", "change": "u"}],
    "b - u": [{"kind": "leave-one-out", "change": "u"}],
}


def write(folder: Path) -> None:
    """Write an ablation of four arms and two seeds with answers, a failed run, and a run on other data."""
    size: dict[str, Any] = {"images": 40, "classes": 4, "epochs": 2}
    signature = Signature(classes=["p", "q", "r", "s"], mean=(0.5,) * 3, std=(0.2,) * 3, image_size=32)
    jobs = []
    for number, (label, roles) in enumerate(ROLES.items()):
        for seed in range(2):
            config = {"model": {"name": label, "depth": 10 + number // 2}, "optim": {"lr": number % 2}}
            run = write_run(folder / f"{number}-{seed}", config, seed, skill=1.0 + number / 4, label=label, **size)
            record = read_record(run)
            assert record.data is not None
            record.data.name, record.data.signature = "folder", signature
            write_record(run, record)
            job = JobEntry(run_id=record.run_id, arm_id=record.arm_id, label=label, seed=seed, folder=run.name,
                           roles=[{"study": "s", **role} for role in roles])  # fmt: skip
            jobs.append(job)
    failed = read_record(write_run(folder / "failed", {}, 0, skill=1.0, label="failed", **size))
    write_record(folder / "failed", failed.model_copy(update={"status": "failed", "error": "it failed"}))
    write_run(folder / "elsewhere", {}, 0, skill=1.0, label="elsewhere", **size)  # on a data set of another name
    sweep = Sweep(name="sweep", question="why", command="run.py -m", axes={"seed": ["0"]}, jobs=jobs)
    (folder / "sweep.json").write_text(json.dumps(sweep.model_dump(mode="json")))


def plant(outputs: Path) -> None:
    for folder in list(record_folders(outputs)):
        (folder / "record.json").write_text(json.dumps(planted(read_record(folder))))
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        lines = [json.dumps(row | {hostile("key"): hostile("")}) for row in rows]
        (folder / "metrics.jsonl").write_text("\n".join(lines))
    file = outputs / "sweep.json"
    file.write_text(json.dumps(planted(Sweep.model_validate_json(file.read_text()))))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Report]:
    """Return the report of harmless runs and that of the same runs with hostile text everywhere."""
    folder = tmp_path_factory.mktemp("hostile")
    write(folder / "sweep")
    harmless = build([folder / "sweep"], folder / "harmless")
    plant(folder / "sweep")
    evil = build([folder / "sweep"], folder / "evil")
    assert len(evil.arms) == len(harmless.arms) == 4
    assert len(evil.ablations) == len(harmless.ablations) == 1
    return harmless, evil


class Document(HTMLParser):
    """Elements, attributes and the JSON of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.names: set[str] = set()
        self.values: list[tuple[str, str, str]] = []
        self.charts: list[Any] = []
        self.count = {"script": 0, "section": 0, "h2": 0, "figure": 0}
        self.json = False
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.names |= {name for name, _ in attrs}
        self.values += [(tag, name, value or "") for name, value in attrs]
        self.json = ("type", "application/json") in attrs
        if self.json:
            self.charts.append("")
        if tag in self.count:
            self.count[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if self.json:
            self.charts[-1] = json.loads(self.charts[-1])
        self.json = False

    def handle_data(self, data: str) -> None:
        if self.json:
            self.charts[-1] += data
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data[:100]}")


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (text for item in value.items() for each in item for text in strings(each))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings(item))
    elif isinstance(value, str):
        yield value


def test_the_page_has_no_element_attribute_or_address_of_a_record_s(reports: tuple[Report, Report]) -> None:
    texts = [(report.folder / "index.html").read_text() for report in reports]
    harmless, evil = map(Document, texts)
    assert evil.elements == harmless.elements
    assert evil.names == harmless.names
    assert evil.count == harmless.count
    for tag, name, value in evil.values:
        assert name not in ("src", "href") or value.startswith(("#", "data:")), (tag, name)
    assert len(evil.charts) > 3
    # Outside of Vega's own code no control stands on the page, and in the data of charts neither.
    assert CONTROLS.findall(re.sub(r"<script>.*?</script>", "", texts[1], flags=re.DOTALL)) == []
    assert not any(CONTROLS.search(text) for text in strings(evil.charts))
    # What was planted is shown, as text; arms have one name in the controls of a chart and in its data.
    assert "onerror=alert(1)" in evil.text
    learning = next(chart for chart in evil.charts if chart["name"] == "learning")
    boxes = {value for tag, name, value in evil.values if (tag, name) == ("input", "value") and "onerror" in value}
    assert {row["arm"] for row in learning["variants"][0]["spec"]["data"]["values"]} == boxes


PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OWN_IMAGES = {"learning_curves.png", "accuracy.png", "accuracy_time.png", "effects.png", "ladder.png", "heat.png"}
BLOCKS = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "inline"}


def inner(tokens: list[Token]) -> Iterator[Token]:
    return (child for token in tokens if token.type == "inline" for child in token.children or [])


def headings(tokens: list[Token]) -> list[str]:
    return [following.content for token, following in pairwise(tokens) if token.type == "heading_open"]


def check_markdown(page: str) -> list[Token]:
    """Parse a page; it holds paragraphs, headings, tables and our own pictures alone."""
    tokens = PARSER.parse(page)
    assert {re.sub("_(open|close)$", "", token.type) for token in tokens} <= BLOCKS
    assert {child.type for child in inner(tokens)} <= {"text", "image"}
    assert {child.attrs["src"] for child in inner(tokens) if child.type == "image"} <= OWN_IMAGES
    assert not CONTROLS.search(page)
    assert not re.search(r"(?<!\\)(\$|://)|www\.", page)  # what GitHub adds to CommonMark
    return tokens


def test_report_md_holds_text_tables_and_our_own_pictures(reports: tuple[Report, Report]) -> None:
    harmless, evil = (check_markdown((report.folder / "report.md").read_text()) for report in reports)
    assert len(headings(evil)) == len(headings(harmless))
    assert [token.type for token in evil if token.type == "table_open"] == [
        token.type for token in harmless if token.type == "table_open"
    ]
    # The text that is read is the text that was planted.
    shown = {child.content for child in inner(evil)}
    first = " ".join(printable(hostile("a"), newlines=True).split())
    assert first in shown


def test_the_texts_for_wandb_hold_no_markup(reports: tuple[Report, Report]) -> None:
    for _, text in sections(reports[1]):
        assert "image" not in {child.type for child in inner(check_markdown(text))}


def test_the_terminal_gets_no_control(reports: tuple[Report, Report]) -> None:
    lines = []
    for report in reports:
        out = io.StringIO()
        print_report(report, Terminal(file=out, width=100_000, soft_wrap=True))
        assert not CONTROLS.search(out.getvalue())
        lines.append(len(out.getvalue().splitlines()))
    assert lines[0] == lines[1]
    assert "[bold]m[/bold] [/y] :smile:" in out.getvalue()


STARTS = ["# x", "> x", "- x", "+ x", "* x", "1. x", "2) x", "---", "===", "| a |", "    x", "\tx", "```", "~~~", "<b>",
          "[a]: b", "1.", "## ", "_x_", "__"]  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_no_line_of_markdown_begins_with_a_block(start: str) -> None:
    from wrnexp.report.text.markdown import _paragraphs

    tokens = PARSER.parse(f"{_paragraphs([start, 'next'])}\n")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"] * 2
    assert "".join(child.content for child in tokens[1].children or []) == start.strip()
    assert {child.type for child in inner(tokens)} == {"text"}


def test_the_attack_has_every_kind() -> None:
    """What is planted does break a page that does not escape it: the checks above can fail."""
    page = f"{BEFORE}x{AFTER}"
    with pytest.raises(AssertionError):
        check_markdown(page)
    assert {"img", "svg", "b"} & Document(f"<p>{page.replace('<!--', '')}</p>").elements == {"img", "svg"}
    assert CONTROLS.search(page)
