"""Text from outside is shown on the terminal and does not control it."""

import ast
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress
from rich.table import Table
from rich.tree import Tree

from tests.hostile import AFTER, hostile, planted
from wrnexp import cli
from wrnexp.process.terminal import Terminal, printable, safe_text
from wrnexp.runs.journal import TrainingPlan
from wrnexp.runs.record import Record, read_record
from wrnexp.sweeps.sweep_json import JobEntry, Sweep
from wrnexp.tracking import Console

PACKAGE = Path(__file__).parents[2] / "wrnexp"
BIDI = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
HARMLESS = [
    "plain", "дропаут", "ドロップ", "עברית", "नमस्ते", "می\u200cخواهم", "\U0001f469\u200d\U0001f469\u200d\U0001f467",  # noqa: RUF001
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\u270c\U0001f3fd", "a\tb", "é",
    "[bold]x", "[/y]", ":smile:", "\\n", "",
]  # fmt: skip


def controls(text: str) -> set[str]:
    """Return what controls a terminal, by Unicode's own categories: controls but tab and newline, bidi, separators."""
    by_category = {c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")}
    return by_category - {"\t", "\n"} | set(text) & set(BIDI)


def shown(thing: Any, **options: Any) -> str:
    file = io.StringIO()
    Terminal(file=file, width=3000, **options).print(thing)
    return file.getvalue()


def test_every_control_is_shown_as_python_writes_it() -> None:
    for code in range(0x110000):
        character = chr(code)
        if controls(character):
            assert printable(character) == character.encode("unicode_escape").decode()
    assert printable("a\nb") == r"a\nb"
    assert printable("a\nb\r", newlines=True) == "a\nb\\r"


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text
    # A tab is as many spaces as there are to the next stop.
    assert shown(text).rstrip("\n") == text.expandtabs(8)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(text)
    assert shown(table).rstrip() == text.expandtabs(8).rstrip()


@pytest.mark.parametrize("wrap", [str, safe_text, lambda text: Tree(text), lambda text: Table(text, title=text)])
def test_nothing_that_is_printed_controls_the_terminal(wrap: Any) -> None:
    for options in ({}, {"soft_wrap": True}, {"force_terminal": True, "color_system": None}):
        text = shown(wrap(AFTER), **options)
        assert not controls(text)
        assert r"\x1b[2J" in text
        assert r"\u202e" in text
        assert "[bold]m[/bold] [/y] :smile:" in text


def test_rich_s_own_controls_are_left() -> None:
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, width=100)
    with Progress(console=terminal) as bars:
        bars.add_task("x\x1b]0;y", total=2)
    terminal.print("red", style="red")
    text = file.getvalue()
    assert "\x1b[?25l" in text  # hides the cursor
    assert "\x1b[31mred\x1b[0m" in text
    assert "\x1b]0;y" not in text


def test_no_other_console_is_made() -> None:
    made = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [
            node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "rich.console"
        ]
        names = {alias.asname or alias.name for node in imports for alias in node.names if alias.name == "Console"}
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if any(isinstance(call, ast.Name) and call.id in names for call in calls):
            made.append(path.relative_to(PACKAGE).as_posix())
    assert made == []


def test_the_console_of_a_run_shows_hostile_text() -> None:
    record = Record(run_id="r", arm_id="a", label="x", seed=0, status="completed", config={"model": {"name": "y"}})
    evil = Record.model_validate(planted(record))
    for progress in ("lines", "bars"):
        file = io.StringIO()
        terminal = Terminal(file=file, width=5000, force_terminal=True, color_system=None)
        run: dict[str, Any] = {"record": evil, "plan": TrainingPlan(epochs=1, steps=1, images=1), "shared": Path()}
        Console(progress=progress, terminal=terminal, folder=Path(), **run).on_run_end(evil)
        text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", file.getvalue()).replace("\r", "")  # rich's own
        assert not controls(text)
        assert "[bold]m[/bold] [/y] :smile:" in text
        assert "\n## Forged" not in text


EVIL = "a\x1b]0;owned\x07\r[y]\u202e\n[bold]b"
SAFE = r"a\x1b]0;owned\x07\r[y]\u202e\n[bold]b"


def test_predict_shows_class_and_file_names(copied_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads((copied_run / "record.json").read_text())
    raw["data"]["signature"]["classes"] = [EVIL] * 24
    (copied_run / "record.json").write_text(json.dumps(raw))
    image, text = copied_run.parent / f"{EVIL}.png", copied_run.parent / f"{EVIL}.txt"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image, "PNG")
    text.write_text("no image")
    arguments = ["predict", str(copied_run), str(image), str(text), "--device", "cpu"]
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert not controls(out + err)
    assert out.splitlines()[0] == f"{copied_run.parent}/{SAFE}.png"
    assert [line.rsplit(maxsplit=1)[0] for line in out.splitlines()[1:]] == [f"  {SAFE}"] * 5
    assert err.startswith(f"error: {copied_run.parent}/{SAFE}.txt cannot be read as an image (")
    assert err.count("\n") == 1
    assert cli.main([*arguments[:3], "--json", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["classes"][0]["class"] == EVIL


def test_a_file_name_that_is_not_utf_8_is_shown(copied_run: Path, capsysbinary: Any) -> None:
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    assert cli.main(["predict", str(copied_run), name, "--device", "cpu"]) == 2
    assert rb"error: caf\udce9.png cannot be read" in capsysbinary.readouterr().err


def test_other_commands_show_names_and_labels(
    copied_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied_run.rename(tmp_path / EVIL)
    record = read_record(folder)
    record.label = EVIL
    (folder / "record.json").write_text(json.dumps(record.model_dump(mode="json")))
    assert cli.main(["evaluate", str(folder), "--device", "cpu"]) == 0
    assert cli.main(["export", str(folder), "--format", "safetensors"]) == 0
    assert cli.main(["predict", str(folder / "nothing"), "x.png"]) == 2
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(folder), f"--{EVIL}"])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) in (0, 1)
    out, err = capsys.readouterr()
    assert not controls(out + err)
    assert f"{SAFE}, seed 0: 48 test images" in out
    assert (out + err).count(SAFE) > 4


def test_the_question_of_a_sweep_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = JobEntry(run_id="r", arm_id="a", label="x", seed=0, folder="r", state="failed", error="it failed")
    sweep = Sweep(name="sweep", question="why", command="run.py", jobs=[job])
    (tmp_path / "multirun" / "sweep").mkdir(parents=True)
    (tmp_path / "multirun" / "sweep" / "sweep.json").write_text(json.dumps(planted(sweep)))
    for arguments in ([], ["sweep"]):
        assert cli.main(["sweeps", *arguments, "--dir", str(tmp_path / "multirun")]) == 0
        assert not controls(capsys.readouterr().out)


def test_hostile_text_is_hostile() -> None:
    assert len(controls(hostile("x"))) > 6
