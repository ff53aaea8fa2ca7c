"""A run is completed once its results are written, whatever becomes of its curves and pictures."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import PIL.Image
import pytest
from omegaconf import DictConfig

from wrnexp import app
from wrnexp.errors import Stopped
from wrnexp.report.figures import style
from wrnexp.runs.record import read_record

Tiny = Callable[..., DictConfig]
Breaks = Callable[[pytest.MonkeyPatch, Path], None]

pytestmark = pytest.mark.curves

SHORT = ["data.train_limit=24", "data.test_limit=24", "optim.epochs=1", "optim.schedule.warmup_epochs=0"]
PICTURES = [f"tracking.media.{name}=true" for name in ("augmented", "mistakes", "confusion", "reliability")]
DRAWN = ["curves.png", *(f"media/{name}.png" for name in ("augmented", "mistakes", "confusion", "reliability"))]
OF_MATPLOTLIB = ["curves.png", "media/confusion.png", "media/reliability.png"]


def raising(error: BaseException) -> Callable[..., Any]:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    return broken


def no_import(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        patch.delitem(sys.modules, name)
    patch.delitem(sys.modules, "wrnexp.report.figures.style")
    patch.delattr("wrnexp.report.figures.style")
    patch.setitem(sys.modules, "matplotlib", None)


def no_figure(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(matplotlib.figure.Figure, "__init__", raising(RuntimeError("no figure")))


def no_axes(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(matplotlib.figure.Figure, "add_subplot", raising(MemoryError()))


def no_canvas(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(matplotlib.figure.Figure, "savefig", raising(SystemExit(1)))


def no_font(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(style, "fallback_fonts", raising(ValueError("no font")))


def no_pillow(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("data.loaders.workers", "data.loaders.augmentation", "augment.recipe", "augment.reference"):
        import_module(f"wrnexp.{name}")  # they need it to train
    patch.setitem(sys.modules, "PIL", None)


def no_png(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(PIL.Image.Image, "save", raising(OSError("encoder error")))


def no_media_folder(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "media").touch()


def no_place_for_curves(patch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "curves.png").mkdir()


@pytest.mark.parametrize(
    ("breaks", "lost"),
    [
        (no_import, OF_MATPLOTLIB),
        pytest.param(no_figure, OF_MATPLOTLIB, marks=pytest.mark.slow),
        pytest.param(no_axes, OF_MATPLOTLIB, marks=pytest.mark.slow),
        pytest.param(no_canvas, OF_MATPLOTLIB, marks=pytest.mark.slow),
        pytest.param(no_font, OF_MATPLOTLIB, marks=pytest.mark.slow),
        (no_pillow, DRAWN),  # matplotlib writes its PNGs by Pillow
        pytest.param(no_png, DRAWN, marks=pytest.mark.slow),
        (no_media_folder, DRAWN[1:]),
        (no_place_for_curves, DRAWN[:1]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_run_completes_where_something_cannot_be_drawn(
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    breaks: Breaks,
    lost: list[str],
) -> None:
    with monkeypatch.context() as patch:
        breaks(patch, tmp_path)
        record = app.run(tiny(*SHORT, *PICTURES), tmp_path)
    assert record == read_record(tmp_path)
    assert (record.status, record.error) == ("completed", None)
    assert record.metrics["test_accuracy"] is not None
    assert record.test_looks == 1
    assert {"predictions.npz", "model.safetensors"} <= {path.name for path in tmp_path.iterdir()}
    assert {name for name in DRAWN if (tmp_path / name).is_file()} == set(DRAWN) - set(lost)
    lines = [line for line in capsys.readouterr().err.splitlines() if "was not drawn" in line]
    assert sorted(line.split(" was not drawn (")[0] for line in lines) == sorted(lost)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Stopped(15)], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_ended_while_it_draws_is_complete(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    monkeypatch.setattr(app, "plot_run", raising(stop))
    with pytest.raises(type(stop)):
        app.run(tiny(*SHORT), tmp_path)
    assert read_record(tmp_path).status == "completed"
