"""How often a benchmark measures: what fits into a time, and counts that are given."""

import argparse
import time

import pytest

from wrnexp.cli.bench.pace import Effort, Side, count, timed


class Recorded(Side):
    """A side that takes a stated time; notes how many repetitions each measurement has."""

    def __init__(self, seconds: float, rate: float) -> None:
        self.repeats: list[int] = []
        super().__init__(lambda repeats: self.repeats.append(repeats) or rate)  # type: ignore[func-returns-value]
        self.__dict__["seconds"] = seconds


@pytest.mark.parametrize(
    ("effort", "seconds", "ours", "theirs"),
    [
        (Effort(None, None, None, 1), (0.1, 0.25), [3, 3, 3], [1, 1, 1]),  # 10 and 4 fit
        (Effort(None, None, None, 1), (0.001, 0.01), [333] * 3, [33] * 3),
        (Effort(None, None, None, 1), (0.01, 0.6), [100], [1]),  # of theirs there is time for one
        (Effort(None, None, None, 1), (5, 50), [1], [1]),  # too slow: the least
        (Effort(2, None, None, 1), (0.1, 0.25), [5, 5], [2, 2]),
        (Effort(None, 4, 1, 1), (0.1, 0.25), [4, 4], [1, 1]),  # two times four fit
        (Effort(None, 6, 6, 1), (0.1, 0.25), [6], [6]),
        (Effort(4, 7, 2, 1), (5, 50), [7] * 4, [2] * 4),
    ],
)
def test_counts_are_those_given_or_what_fits(
    effort: Effort, seconds: tuple[float, float], ours: list[int], theirs: list[int]
) -> None:
    mine, other = Recorded(seconds[0], 30.0), Recorded(seconds[1], 10.0)
    figure = effort.compare("a name", "images/s", mine, other)
    assert (mine.repeats, other.repeats) == (ours, theirs)
    assert (figure.name, figure.value, figure.unit, figure.reference, figure.ratio) == ("a name", 30, "images/s", 10, 3)


def test_a_rate_is_of_work_that_the_device_has_done(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = iter([1.0, 1.5])
    monkeypatch.setattr(time, "perf_counter", lambda: order.append("clock") or next(clock))  # type: ignore[func-returns-value]
    side = timed(lambda repeats: order.append(f"work {repeats}"), 8, lambda: order.append("wait"))
    assert side.rate(3) == 8 * 3 / 0.5
    assert order == ["wait", "clock", "work 3", "wait", "clock"]


def test_the_time_of_one_repetition_is_measured_once_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def rate(repeats: int) -> float:
        nonlocal now
        now += 7.0 if now == 0 else 2.0 * repeats
        return 1.0

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    side = Side(rate)
    assert (side.seconds, side.seconds, now) == (2.0, 2.0, 9.0)


def test_a_count_that_is_given_wins_over_quick() -> None:
    quick, whole = argparse.Namespace(quick=True), argparse.Namespace(quick=False)
    assert [count(3, 5, quick), count(None, 5, quick), count(3, 5, whole), count(None, 5, whole)] == [3, None, 3, 5]
