import re

import pytest

from wrnexp.report.page.chart import COLOURS, extent, luminance, palette, shortened
from wrnexp.report.page.pareto import front

GROUNDS = re.compile(r"--(?:ground|raised): light-dark\((#\w{6}), (#\w{6})\)")


@pytest.mark.parametrize("count", [1, len(COLOURS), len(COLOURS) + 1, 40])
def test_every_colour_stands_out_from_light_and_dark_ground(count: int) -> None:
    """WCAG 2.2, 1.4.11: graphics have a contrast of 3 to 1 at least."""
    from wrnexp.report.page.render import _asset

    grounds = [colour for pair in GROUNDS.findall(_asset("page.css")) for colour in pair]
    assert len(grounds) == 4
    colours = palette(count)
    assert len(set(colours)) == count
    for colour in colours:
        for ground in grounds:
            high, low = sorted((luminance(colour), luminance(ground)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 3, (colour, ground)


def test_luminance_is_that_of_the_guidelines() -> None:
    assert luminance("#FFFFFF") == pytest.approx(1)
    assert luminance("#000000") == 0
    assert luminance("#777777") == pytest.approx(0.1845, abs=1e-4)  # 4.48 to 1 on white, their well-known example


@pytest.mark.parametrize(
    ("labels", "short"),
    [
        (["light model.dropout=0", "light model.dropout=0.1"], ["dropout=0", "dropout=0.1"]),
        (["light a.x=1,b.y=2", "light a.x=1,b.y=3"], ["y=2", "y=3"]),
        (["light", "light optim.lr=0.1"], ["light", "lr=0.1"]),
        (["a.x=1", "b.x=1"], ["a.x=1", "b.x=1"]),  # without their groups they would be one
        (["base", "light"], ["base", "light"]),
        (["one a.x=1"], ["one, x=1"]),
    ],
)
def test_short_labels_keep_what_tells_arms_apart(labels: list[str], short: list[str]) -> None:
    assert shortened(labels) == short


def test_an_axis_shows_zero_and_every_mean_but_not_the_widest_interval() -> None:
    low, high = extent([1.0, 2.0], [-40.0, 44.0])
    assert -6 < low < -5
    assert 5 < high < 6
    low, high = extent([1.0, 2.0], [0.5, 2.5])
    assert -0.2 < low < 0
    assert 2.5 < high < 2.7


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert front([(1, 50), (2, 60), (3, 55), (2, 58), (4, 60), (0.5, 40)]) == [True, True, False, False, False, True]
    assert front([(1, 50), (1, 50)]) == [True, True]
