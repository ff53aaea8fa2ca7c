"""The grid of training images: pixels and captions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFont

from wrnexp.report.media import grid
from wrnexp.report.media.grid import captions, draw_grid, pixels
from wrnexp.runs.record import Signature

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
SIGNATURE = Signature(classes=["cat", "maple_tree", "fox"], mean=MEAN, std=STD, image_size=32)


def normalised(tiles: np.ndarray) -> np.ndarray:
    """Normalize uint8 images [N, S, S, 3] to the network's input [N, 3, S, S]."""
    levels = tiles.astype(np.float32).transpose(0, 3, 1, 2) / 255
    return (levels - np.array(MEAN, np.float32).reshape(3, 1, 1)) / np.array(STD, np.float32).reshape(3, 1, 1)


def test_every_byte_comes_back() -> None:
    tiles = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(pixels(normalised(tiles), MEAN, STD), tiles)


def test_levels_out_of_range_are_cut_off() -> None:
    images = np.array([[-9.0, 9.0, 0.0], [-9.0, 9.0, 0.0], [-9.0, 9.0, 0.0]]).reshape(1, 3, 1, 3)
    middle = [round(255 * mean) for mean in MEAN]
    assert pixels(images, MEAN, STD)[0, 0].tolist() == [[0, 0, 0], [255, 255, 255], middle]


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (np.int64(1), ["maple tree"]),
        (np.array([0.0, 1.0, 0.0], np.float32), ["maple tree"]),
        (np.array([0.003, 0.0, 0.997], np.float32), ["fox"]),
        (np.array([0.3, 0.0, 0.7], np.float32), ["70% fox", "30% cat"]),
        (np.array([0.5, 0.5, 0.0], np.float32), ["50% cat", "50% maple tree"]),
        (np.array([0.2, 0.35, 0.45], np.float32), ["45% fox", "35% maple tree"]),
    ],
)
def test_words_below_a_tile(target: Any, lines: list[str]) -> None:
    assert captions(target, SIGNATURE.classes) == lines


@pytest.mark.parametrize(("count", "side", "factor"), [(64, 32, 4), (9, 32, 4), (1, 48, 2), (3, 200, 1)])
def test_tiles_are_the_images_enlarged(tmp_path: Path, count: int, side: int, factor: int) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    path = tmp_path / "media" / "augmented.png"
    draw_grid(path, normalised(tiles), np.arange(count) % 3, SIGNATURE, "light, seed 0")
    with Image.open(path) as picture:
        sheet = np.asarray(picture)
    across, down = factor * side + grid.GAP, factor * side + grid.GAP + grid.LINE
    for index, tile in enumerate(tiles):
        y, x = grid.MARGIN + grid.HEADING + index // 8 * down, grid.MARGIN + index % 8 * across
        enlarged = sheet[y : y + factor * side, x : x + factor * side]
        assert np.array_equal(enlarged, tile.repeat(factor, axis=0).repeat(factor, axis=1))
        words = sheet[y + factor * side : y + factor * side + grid.LINE, x : x + factor * side]
        assert words.min() < 100  # ink
    assert sheet[:, -grid.MARGIN :].min() == 255  # a margin
    assert sheet[-grid.MARGIN // 2 :].min() == 255


def test_mixed_targets_take_two_lines(tmp_path: Path) -> None:
    tiles = np.zeros((2, 32, 32, 3), np.uint8)
    for name, targets in (("plain", np.eye(3)[:2]), ("mixed", np.array([[0.6, 0.4, 0.0], [1.0, 0.0, 0.0]]))):
        draw_grid(tmp_path / f"{name}.png", normalised(tiles), targets, SIGNATURE, "")
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "mixed.png") as mixed:
        assert (mixed.width, mixed.height) == (plain.width, plain.height + grid.LINE)


def test_long_names_end_within_their_tile(tmp_path: Path) -> None:
    font = grid._font()
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert font.getname() == ("DejaVu Sans", "Book")
    text = grid._shortened("a name of a class that is much too long", font, 128)
    assert text.endswith("\N{HORIZONTAL ELLIPSIS}")
    assert text.startswith("a name of")
    assert 100 < font.getlength(text) <= 128
    assert grid._shortened("fox", font, 128) == "fox"


def test_without_matplotlibs_font_there_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "find_spec", lambda name: None)
    assert grid._font().getlength("fox") > 5
