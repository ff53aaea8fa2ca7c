"""`wrnexp bench memory`: real figures of two budgets, as a table and as JSON."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wrnexp import cli
from wrnexp.cli.bench import Figure, memory
from wrnexp.cli.bench.pace import Effort


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


def test_quick_mode_has_fewer_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(self: Effort, name: str, unit: str, *sides: object) -> Figure:
        assert self == Effort(2, None, None)
        return Figure(name, 3.0, unit, 4.0, 0.75)

    monkeypatch.setattr(Effort, "compare", compare)
    monkeypatch.setattr(memory, "_memory", lambda args, budget, *given: {"kept": budget * memory.MIB})
    path = tmp_path / "memory.json"
    small = ["--model", "small", "--batch", "8", "--device", "cpu", "--json", str(path)]
    assert cli.main(["bench", "memory", *small, "--quick", "--rounds", "2"]) == 0
    assert [(figure["name"], figure["value"], figure["ratio"]) for figure in json.loads(path.read_text())] == [
        ("kept, budget 1", 1, None),
        ("kept, budget 0.8", 0.8, 0.8),
        ("speed, budget 0.8", 3, 0.75),
        ("speed, budget 1", 4, None),
    ]


def test_a_gpu_is_measured_in_this_process_with_the_step_that_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[Any] = []

    def probe(*given: Any) -> dict[str, float]:
        probed.append(given)
        return {"kept": 1.0}

    monkeypatch.setattr(memory, "probe", probe)
    monkeypatch.setattr(memory, "_in_a_fresh_process", None)
    step: Any = SimpleNamespace(hardware=SimpleNamespace(device=torch.device("cuda")))
    batch = torch.zeros(2), torch.zeros(2)
    assert memory._memory(argparse.Namespace(), 0.8, step, batch) == {"kept": 1.0}
    assert probed == [(step, batch)]
