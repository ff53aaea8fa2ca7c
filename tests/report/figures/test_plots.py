import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wrnexp.report.build import build
from wrnexp.report.figures import style
from wrnexp.report.figures.curves import plot_run
from wrnexp.report.figures.matplotlib_setup import DEFAULT_FONT, fallback_fonts

WriteRun = Callable[..., Path]

CURVE = [0.1, 0.3, 0.5, 0.6]


def _colours(path: Path) -> set[str]:
    """Return the colours of the pixels, as `#RRGGBB`."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64) @ [1 << 16, 1 << 8, 1]
    return {f"#{pixel:06X}" for pixel in np.unique(pixels)}


def test_every_plot_has_every_arm(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for label in ("base", "light", "other"):
        for seed in range(3):
            write_run(label, seed, 0.6 + seed / 100, curve=CURVE)
    build([outputs], tmp_path / "report")
    for name in ("accuracy.png", "learning_curves.png", "accuracy_time.png"):
        colours = _colours(tmp_path / "report" / name)
        assert set(style.COLOURS[:3]) <= colours
        assert style.COLOURS[3] not in colours


def test_plots_without_data_are_not_drawn_and_old_ones_are_deleted(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    pytest.importorskip("vl_convert")
    out = tmp_path / "report"
    folder = write_run("base", 0, 0.6, curve=CURVE)
    build([outputs], out)
    (folder / "metrics.jsonl").unlink()
    write_run("base", 0, 0.6, cost={"train_seconds": 0.0})
    (folder / "metrics.jsonl").unlink()
    build([outputs], out)
    assert sorted(path.name for path in out.iterdir()) == ["accuracy.png", "index.html", "report.json", "report.md"]
    assert "learning_curves.png" not in (out / "report.md").read_text()


def test_many_arms_with_long_labels_and_unequal_lengths(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    for index in range(12):
        label = f"experiment-with-a-very-long-name,optim.schedule.warmup_epochs={index}"
        write_run(label, 0, 0.6, folder=str(index), curve=CURVE[: 1 + index % 4], cost={"train_seconds": 4.0**index})
    build([outputs], tmp_path / "report")
    assert set(map(str.upper, style.palette(12))) <= _colours(tmp_path / "report" / "learning_curves.png")


@pytest.mark.parametrize("label", ["日本", "😀", "عربي हिन्दी", "\ue000"])
def test_text_that_the_font_lacks_is_drawn_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], label: str
) -> None:
    plot_run([{"epoch": 1, "lr": 0.1, "train_loss": 1.0}], tmp_path / "curves.png", label)  # warnings are errors
    assert capfd.readouterr() == ("", "")


def test_an_installed_font_is_used_where_matplotlibs_lacks_a_character() -> None:
    assert fallback_fonts("Loss, дропаут") == []
    (name,) = fallback_fonts("\N{Z NOTATION LEFT IMAGE BRACKET}")  # STIX has it, which comes with matplotlib
    figure = style.blank(1, 1)
    figure.text(0, 0, "\N{Z NOTATION LEFT IMAGE BRACKET}", fontfamily=[DEFAULT_FONT, name])
    figure.savefig(io.BytesIO())  # without a warning
    figure.texts[0].set_fontfamily(DEFAULT_FONT)
    with pytest.warns(UserWarning, match="missing from"):
        figure.savefig(io.BytesIO())


@pytest.mark.parametrize(
    ("name", "value", "backend"),
    [("MPLBACKEND", "nonsense", None), ("MPLBACKEND", "svg", "svg"), ("MATPLOTLIBRC", "unreadable", None)],
)
def test_matplotlib_is_imported_whatever_the_environment_says(
    tmp_path: Path, name: str, value: str, backend: str | None
) -> None:
    (tmp_path / "unreadable").write_bytes(b"\xff\xfe")
    code = (
        "import os; from wrnexp.report.figures import plots, style; import matplotlib\n"
        f"print(os.environ['{name}'], matplotlib.get_backend(auto_select=False), sep='|')"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ | {name: value}
    )
    assert (completed.stdout, completed.stderr) == (f"{value}|{backend}\n", "")


def test_a_report_without_plots_is_a_report(
    write_run: WriteRun,
    outputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    write_run("base", 0, 0.6, curve=CURVE)
    monkeypatch.setattr(style, "save", broken)
    build([outputs], tmp_path / "report")
    assert capsys.readouterr().err == "left out: the plots, which cannot be drawn (RuntimeError: no ink)\n"
    assert ".png" not in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize("epochs", [0, 1, 4])
def test_curves_of_a_run(tmp_path: Path, epochs: int) -> None:
    rows = [
        {"epoch": epoch, "lr": 0.1, "train_loss": 4 / epoch, "test_loss": 5 / epoch, "test_accuracy": 0.1 * epoch}
        for epoch in range(1, epochs + 1)
    ]
    plot_run(rows, tmp_path / "curves.png", "base $x^$, seed 0")
    colours = _colours(tmp_path / "curves.png")
    assert (set(style.COLOURS[:2]) <= colours) == (epochs > 0)
    assert style.COLOURS[2] not in colours  # nothing was validated


def test_curves_of_a_run_with_gaps(tmp_path: Path) -> None:
    rows = [
        {
            "epoch": 1,
            "lr": 0.1,
            "train_loss": float("nan"),
            "val_loss": 2.0,
            "val_accuracy": 0.1,
            "test_accuracy": None,
        },
        {"epoch": 2, "lr": 0.1, "train_loss": None, "val_loss": 1.0, "val_accuracy": 0.2, "test_accuracy": None},
    ]
    plot_run(rows, tmp_path / "deep" / "curves.png", "gaps")
    colours = _colours(tmp_path / "deep" / "curves.png")
    assert style.COLOURS[2] in colours
    assert not set(style.COLOURS[:2]) & colours


@settings(deadline=None)
@given(st.lists(st.floats(-10, 110), max_size=9), st.floats(0.1, 10))
def test_labels_are_moved_apart_inside_the_limits(heights: list[float], gap: float) -> None:
    moved = style.apart(heights, gap, (0, 100))
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    distances = np.diff([moved[index] for index in order])
    assert (distances >= gap - 1e-9).all()
    assert all(-1e-9 <= height <= 100 + 1e-9 for height in moved)


def test_labels_far_enough_apart_stay() -> None:
    assert style.apart([50.0, 10.0, 30.0], 5.0, (0, 100)) == [50.0, 10.0, 30.0]
    assert style.apart([50.0, 50.0], 4.0, (0, 100)) == [48.0, 52.0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["light,lr=1", "light,lr=2"], ["lr=1", "lr=2"]),
        (["light", "light,lr=2"], ["light", "lr=2"]),
        (["base", "light"], ["base", "light"]),
        (["base"], ["base"]),
    ],
)
def test_labels_are_cut_to_what_differs(labels: list[str], expected: list[str]) -> None:
    assert style.brief(labels) == expected


def test_long_labels_keep_their_end() -> None:
    (label,) = style.brief(["x" * 50 + "lr=2"])
    assert len(label) == style.LONGEST_LABEL
    assert label.endswith("lr=2")


def test_colours_are_all_different() -> None:
    for count in (1, 7, 8, 30):
        assert len(set(style.palette(count))) == count
