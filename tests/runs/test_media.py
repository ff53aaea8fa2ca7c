"""The pictures of a whole run: when they are drawn, who hears of them, and that they change nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from tests.stopping_halfway import interrupting
from wrnexp import app
from wrnexp.config import identity
from wrnexp.data import load
from wrnexp.hydra_app.naming import app_config
from wrnexp.report.media import drawing, pictures, read_mistakes
from wrnexp.runs.journal import Sink
from wrnexp.runs.record import Record, read_metrics, read_record

Tiny = Callable[..., DictConfig]
ALL = [f"tracking.media.{name}=true" for name in ("augmented", "mistakes", "confusion", "reliability")]
NAMES = ["media/augmented", "media/mistakes", "media/confusion", "media/reliability"]
KEPT = ("train_loss", "test_loss", "test_accuracy", "grad_norm")


class Listener(Sink):
    """A sink that notes what it hears, and what lies in `media/` when it is told of pictures."""

    def __init__(self) -> None:
        self.listening: list[Any] = []

    def on_step_end(self, epoch: int, step: int) -> None:
        self.listening.append("step")

    def on_epoch_end(self, record: Record, rows: Sequence[dict[str, Any]]) -> None:
        self.listening.append("epoch")

    def on_media(self, record: Record, folder: Path) -> None:
        self.listening.append([picture.name for picture in pictures(folder)])

    def on_run_end(self, record: Record) -> None:
        self.listening.append(record.status)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """Return the one sink that hears of the runs of a test."""
    heard = Listener()
    monkeypatch.setattr(app, "_open", lambda node, key, **what: heard if "Console" in node._target_ else Sink())
    return heard


def assert_equal(folder: Path, plain: Path) -> None:
    """Compare a run with one that trained on the same images and drew nothing, bit for bit."""
    assert not (plain / "media").exists()
    assert read_record(folder).metrics == read_record(plain).metrics
    rows = [[{key: row[key] for key in KEPT} for row in read_metrics(where)] for where in (folder, plain)]
    assert rows[0] == rows[1]
    weights = [(where / "model.safetensors").read_bytes() for where in (folder, plain)]
    assert weights[0] == weights[1]


def test_a_run_draws_before_its_first_step_and_at_its_end(
    tiny: Tiny, tmp_path: Path, listener: Listener, trained_run: Path
) -> None:
    pytest.importorskip("wandb")
    record = app.run(tiny("loader=resident", *ALL), tmp_path)
    assert listener.listening == [NAMES[:1], *["step"] * 6, "epoch", *["step"] * 6, "epoch", NAMES, "completed"]
    names = {path.name for path in (tmp_path / "media").iterdir()}
    assert names == {"augmented.png", "mistakes.png", "mistakes.json", "confusion.png", "reliability.png"}
    stored = np.load(tmp_path / "predictions.npz")
    data = load("shapes", None, 0, 96, 48, resize=False)
    wrong = stored["logits"].argmax(1) != stored["labels"]
    found = read_mistakes(tmp_path)
    assert {mistake["index"] for mistake in found} == set(np.flatnonzero(wrong).tolist())
    for mistake in found:
        assert np.array_equal(mistake["tile"], data.test[mistake["index"]])
        assert mistake["true"] == data.classes[stored["labels"][mistake["index"]]].replace("_", " ")
    assert record.metrics["test_accuracy"] == pytest.approx(1 - len(found) / 48)
    assert_equal(tmp_path, trained_run)


def test_a_run_that_goes_on_keeps_its_grid_and_tells_of_it(
    tiny: Tiny, tmp_path: Path, listener: Listener, trained_run: Path
) -> None:
    pytest.importorskip("wandb")
    with interrupting(), pytest.raises(KeyboardInterrupt):
        app.run(tiny("loader.workers=2", *ALL), tmp_path)
    assert [picture.name for picture in pictures(tmp_path)] == NAMES[:1]
    grid = tmp_path / "media" / "augmented.png"
    Image.new("RGB", (3, 3)).save(grid)  # to be told from one drawn anew
    state = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    assert state["rows"][0].pop("peak_memory_bytes") > 0  # as an older version wrote it
    torch.save(state, tmp_path / "checkpoints" / "last.pt")
    kept = grid.read_bytes()
    app.run(tiny("loader.workers=0", *ALL), tmp_path)
    assert grid.read_bytes() == kept
    assert listener.listening[-10:] == [NAMES[:1], *["step"] * 6, "epoch", NAMES, "completed"]
    assert ["peak_memory_bytes" in row for row in read_metrics(tmp_path)] == [False, True]
    assert_equal(tmp_path, trained_run)


def test_switches_are_no_part_of_a_runs_identity(tiny: Tiny) -> None:
    configs = [app_config(tiny(*switches)) for switches in ([], ALL)]
    assert configs[0] != configs[1]
    assert len({identity.run_id(config) for config in configs}) == 1


def test_what_cannot_be_drawn_ends_no_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no ink")

    for name in ("draw_grid", "draw_mistakes", "draw_confusion", "draw_reliability"):
        monkeypatch.setattr(drawing, name, broken)
    assert app.run(tiny("optim.epochs=1", "optim.schedule.warmup_epochs=0", *ALL), tmp_path).status == "completed"
    assert pictures(tmp_path) == []
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == [f"{name}.png" for name in NAMES]
