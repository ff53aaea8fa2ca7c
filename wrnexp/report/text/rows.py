"""Rows of a report as text, one function for every page that shows them."""

from wrnexp.report.claims import Claim
from wrnexp.report.format import (
    NONE,
    OLDER_TIMES,
    PAIRED_COLUMNS,
    count,
    decimals,
    mebibytes,
    paired_cells,
    percent,
    points,
    seconds,
    several,
    span,
    times,
)
from wrnexp.report.tables import ArmRow, PairRow

ARM_COLUMNS = (
    "arm",
    "n",
    "test accuracy %",
    "SD",
    "95% interval",
    "NLL",
    "ECE",
    "training s",
    "images/s",
    "peak memory",
    "parameters",
)
PAIR_COLUMNS = (
    "arm",
    "against",
    *PAIRED_COLUMNS,
    "verdict",
    "seeds needed",
)
CLAIM_COLUMNS = ("claim", "measured (95% interval)", "supported by", "verdict")


def arm_cells(row: ArmRow) -> list[str]:
    """Return one arm's figures as text, in the order of `ARM_COLUMNS`."""
    accuracy = row.accuracy
    return [
        row.label,
        str(accuracy.n),
        percent(accuracy.mean),
        percent(accuracy.sd),
        span(accuracy.ci95, percent),
        decimals(row.nll),
        decimals(row.ece),
        seconds(row.train_seconds) + (OLDER_TIMES if row.older_times else ""),
        count(row.images_per_second),
        mebibytes(row.peak_memory_bytes),
        count(row.parameters),
    ]


def pair_cells(pair: PairRow) -> list[str]:
    """Return one pair's figures as text, in the order of `PAIR_COLUMNS`."""
    return [
        pair.b,
        pair.a,
        *paired_cells(pair.paired, pair.p_holm),
        pair.verdict,
        count(pair.seeds_needed),
    ]


def claim_cells(claim: Claim) -> list[str]:
    """Return one claim as text, in the order of `CLAIM_COLUMNS`."""
    return [claim.claim, _measured(claim), claim.criterion, claim.verdict]


def _measured(claim: Claim) -> str:
    """Return what was measured for a claim, with its interval and number of seeds."""
    if claim.measured is None:
        return claim.note or NONE
    show, unit = {"ratio": (times, "times"), "accuracy": (points, "points"), "level": (percent, "%")}[claim.unit]
    interval = f" ({span(claim.ci95, show)})" if claim.ci95 else ""
    return f"{show(claim.measured)} {unit}{interval}, {several(claim.n, 'seed')}"
