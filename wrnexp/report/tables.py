"""The figures of a report: a row an arm, a row a pair, the differing config values, where the runs come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from wrnexp.report.ablation import Ablation
from wrnexp.report.ablation_tables import as_json as ablation_json
from wrnexp.report.arms import ABSENT, Arm, differing
from wrnexp.report.claims import Claim
from wrnexp.report.collect import Excluded
from wrnexp.report.diverged import diverged
from wrnexp.report.factorial import Crossed
from wrnexp.report.factorial import as_json as crossed_json
from wrnexp.report.images import Calibrated, ImagePair, pair_json
from wrnexp.report.literature import Beside
from wrnexp.report.literature import as_json as literature_json
from wrnexp.report.measures import Run, cost, metric, times_include_start
from wrnexp.report.predictions import Predictions
from wrnexp.stats import (
    Equivalence,
    Paired,
    Summary,
    Verdict,
    equivalence,
    holm,
    paired,
    seeds_needed,
    summary,
    verdict,
)

# Keys of a record's provenance and what they are called in a report.
PROVENANCE = {
    "git_commit": "commit",
    "git_dirty": "uncommitted changes",
    "device": "device",
    "torch": "torch",
    "python": "python",
}


@dataclass(frozen=True)
class ArmRow:
    """One arm: test accuracy (0..1) over its seeds, and the means of what else it measured and cost."""

    label: str
    arm_id: str
    seeds: list[int]
    accuracy: Summary
    nll: float | None
    ece: float | None
    train_seconds: float | None
    older_times: bool
    images_per_second: float | None
    peak_memory_bytes: float | None
    parameters: float | None


@dataclass(frozen=True)
class PairRow:
    """Arm b against arm a on test accuracy; `p_holm` is corrected within the report, `equivalence` is not."""

    a: str
    b: str
    paired: Paired
    p_holm: float | None
    verdict: Verdict
    seeds_needed: int | None
    equivalence: Equivalence


@dataclass(frozen=True)
class ConfigRow:
    """One config key that differs between arm a and arm b, and both values as text."""

    a: str
    b: str
    key: str
    value_a: str
    value_b: str


@dataclass(frozen=True)
class Origin:
    """How many runs, of which arms, share one commit, device and set of versions."""

    runs: int
    arms: list[str]
    values: dict[str, str]


@dataclass(frozen=True)
class Report:
    """Everything a report says, and the folder that it is written to; pages and tables only show it."""

    arms: list[Arm]
    rows: list[ArmRow]
    pairs: list[PairRow]
    claims: list[Claim]
    excluded: list[Excluded]
    configs: list[ConfigRow]
    origins: list[Origin]
    folder: Path
    ablations: list[Ablation] = field(default_factory=list)
    crossed: Crossed | None = None
    literature: list[Beside] = field(default_factory=list)
    answers: Predictions | None = None
    image_pairs: list[ImagePair] = field(default_factory=list)
    calibration: list[Calibrated] = field(default_factory=list)


def arm_rows(arms: Sequence[Arm]) -> list[ArmRow]:
    """Summarise each arm over its seeds."""
    return [_arm_row(arm) for arm in arms]


def pair_rows(arms: Sequence[Arm], baseline: Arm) -> list[PairRow]:
    """Compare the baseline with each other arm on test accuracy, paired by seed."""
    others = [arm for arm in arms if arm is not baseline]
    own, theirs = baseline.by_seed(_accuracy), [other.by_seed(_accuracy) for other in others]
    tests = [paired(own, values) for values in theirs]
    alike = [equivalence(own, values) for values in theirs]
    corrected = holm([test.p for test in tests])
    return [_pair_row(baseline, *found) for found in zip(others, tests, corrected, alike, strict=True)]


def config_rows(arms: Sequence[Arm], baseline: Arm) -> list[ConfigRow]:
    """List where each other arm's config differs from the baseline's."""
    return [row for arm in arms if arm is not baseline for row in _config_rows(baseline, arm)]


def origins(arms: Sequence[Arm]) -> list[Origin]:
    """Group the runs by what they ran on and from which code, the largest group first."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for arm in arms:
        for run in arm.runs:
            found.setdefault(_provenance(run), []).append(arm.label)
    groups = [Origin(len(labels), list(dict.fromkeys(labels)), dict(values)) for values, labels in found.items()]
    return sorted(groups, key=lambda origin: -origin.runs)


def looks(arm: Arm) -> tuple[int, int]:
    """Return how often the arm's runs read the test set, `wrnexp evaluate` included: the fewest and the most."""
    counts = [run.record.test_looks + run.later_looks for run in arm.runs]
    return min(counts), max(counts)


def as_json(report: Report) -> dict[str, Any]:
    """Return what report.json holds; accuracies and their differences are in 0..1."""
    return {
        "arms": [_arm_json(row) for row in report.rows],
        "pairs": [_pair_json(row) for row in report.pairs],
        "claims": [vars(claim) for claim in report.claims],
        "excluded": [{"run_id": entry.run_id, "reason": entry.reason} for entry in report.excluded],
        "diverged": [vars(run) for run in diverged(report.excluded, report.arms)],
        "ablation": [ablation_json(study) for study in report.ablations],
        "literature": literature_json(report.literature),
        "factorial": None if report.crossed is None else crossed_json(report.crossed),
        "per_image": [pair_json(pair) for pair in report.image_pairs],
        "calibration": [vars(row) for row in report.calibration],
    }


def has_older_times(arm: Arm) -> bool:
    """True if training seconds of a run of the arm include start and compilation."""
    return any(map(times_include_start, arm.runs))


def _accuracy(run: Run) -> float:
    return run.accuracy


def _arm_row(arm: Arm) -> ArmRow:
    return ArmRow(
        label=arm.label,
        arm_id=arm.arm_id,
        seeds=arm.seeds,
        accuracy=summary(list(arm.by_seed(_accuracy).values())),
        nll=arm.mean(partial(metric, name="test_nll")),
        ece=arm.mean(partial(metric, name="test_ece")),
        train_seconds=arm.mean(partial(cost, name="train_seconds")),
        older_times=has_older_times(arm),
        images_per_second=arm.mean(partial(cost, name="images_per_second")),
        peak_memory_bytes=arm.mean(partial(cost, name="peak_memory_bytes")),
        parameters=arm.mean(partial(cost, name="parameters")),
    )


def _pair_row(a: Arm, b: Arm, test: Paired, p_holm: float | None, alike: Equivalence) -> PairRow:
    needed = seeds_needed(test.difference, test.sd) if test.difference is not None else None
    return PairRow(a.label, b.label, test, p_holm, verdict(test.difference, p_holm), needed, alike)


def _config_rows(a: Arm, b: Arm) -> list[ConfigRow]:
    first, second = a.config, b.config
    keys = differing([first, second])
    return [ConfigRow(a.label, b.label, key, first.get(key, ABSENT), second.get(key, ABSENT)) for key in keys]


def _provenance(run: Run) -> tuple[tuple[str, str], ...]:
    return tuple((key, _known(run.record.provenance.get(key))) for key in PROVENANCE)


def _known(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value in (None, "") else str(value)


def _arm_json(row: ArmRow) -> dict[str, Any]:
    return {"label": row.label, "arm_id": row.arm_id, "seeds": row.seeds} | vars(row.accuracy)


def _pair_json(row: PairRow) -> dict[str, Any]:
    test = row.paired
    return {
        "a": row.a,
        "b": row.b,
        "n": test.n,
        "difference": test.difference,
        "ci95": test.ci95,
        "p": test.p,
        "p_holm": row.p_holm,
        "verdict": row.verdict,
        "seeds_needed": row.seeds_needed,
        "equivalence": vars(row.equivalence),
    }
