"""`wrnexp bench memory`: real figures of two budgets, as a table and as JSON."""

import json
from pathlib import Path

import pytest

from wrnexp import cli
from wrnexp.cli.bench import memory


def test_figures_and_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(memory, "BUDGETS", (1.0, 0.5))
    path = tmp_path / "memory.json"
    arguments = ["--model", "small", "--batch", "64", "--rounds", "1", "--device", "cpu", "--json", str(path)]
    assert cli.main(["bench", "memory", *arguments]) == 0
    figures = {figure["name"]: figure for figure in json.loads(path.read_text())}
    saved = figures["saved for the backward pass, an image, budget 0.5"]
    assert saved["unit"] == "MiB"
    assert saved["reference"] == figures["saved for the backward pass, an image, budget 1"]["value"]
    assert saved["ratio"] == pytest.approx(saved["value"] / saved["reference"])
    assert saved["ratio"] <= 0.52
    if peak := figures.get("peak of a step above rest, budget 0.5"):
        assert 0 < peak["value"] < peak["reference"]
    speed = figures["speed, budget 0.5"]
    assert speed["unit"] == "images/s"
    assert min(speed["value"], speed["reference"], speed["ratio"]) > 0
    assert figures["speed, budget 1"]["ratio"] is None
    assert "budget 0.5" in capsys.readouterr().out
