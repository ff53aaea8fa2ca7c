"""Figures as text: accuracies in percent with two decimals, their differences in points."""

from collections.abc import Callable

from wrnexp.stats import Interval, Paired

NONE = "-"
OLDER_TIMES = "†"  # marks times of records that include start and compilation
PAIRED_COLUMNS = ("n", "difference, points", "95% interval", "p", "p (Holm)")


def percent(share: float | None) -> str:
    """Return a share in 0..1 as percent, without the sign: 0.7123 is `71.23`."""
    return NONE if share is None else f"{100 * share:.2f}"


def points(difference: float | None) -> str:
    """Return a difference of accuracies in points, with its sign: -0.012 is `-1.20`."""
    return NONE if difference is None else f"{round(100 * difference, 2) + 0.0:+.2f}"  # never -0.00


def times(ratio: float | None) -> str:
    """Return a ratio with two decimals, small ones with two significant digits."""
    if ratio is None:
        return NONE
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def span(interval: Interval | None, show: Callable[[float], str]) -> str:
    """Return an interval as `low to high`."""
    return NONE if interval is None else f"{show(interval[0])} to {show(interval[1])}"


def count(number: float | None) -> str:
    """Return a whole number with thousands separated: 36536884 is `36,536,884`."""
    return NONE if number is None else f"{number:,.0f}"


def seconds(time: float | None) -> str:
    """Return seconds with about three significant digits and no exponent."""
    if time is None:
        return NONE
    return f"{time:,.0f}" if time >= 100 else f"{time:.3g}"


def mebibytes(size: float | None) -> str:
    """Return bytes as MiB."""
    return NONE if size is None else f"{size / 2**20:,.0f} MiB"


def decimals(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals."""
    return NONE if value is None else f"{value:.{digits}f}"


def p_value(p: float | None) -> str:
    """Return a p-value with two significant digits, `<0.0001` below that."""
    if p is None:
        return NONE
    return "<0.0001" if p < 1e-4 else f"{p:.2g}"


def several(number: int, noun: str) -> str:
    """Return the number and the noun, with an s unless there is one: `1 seed`, `5 seeds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items: list[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def paired_cells(test: Paired, p_holm: float | None) -> list[str]:
    """Return a paired test of accuracies as text, in the order of `PAIRED_COLUMNS`."""
    return [str(test.n), points(test.difference), span(test.ci95, points), p_value(test.p), p_value(p_holm)]
