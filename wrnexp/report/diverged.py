"""Runs that diverged: they are in no arm, and a report lists them apart from the other runs that were left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wrnexp.errors import diverged_briefly, is_diverged
from wrnexp.report.arms import distinct_labels
from wrnexp.report.format import NONE, listed, several
from wrnexp.runs.record import Record

if TYPE_CHECKING:
    from wrnexp.report.arms import Arm
    from wrnexp.report.collect import Excluded

COLUMNS = ("arm", "seed", "step", "rate", "gradient norm", "loss", "reason")
# Earlier versions call a run completed whose network answers NaN; its figures are null then.
NOT_FINITE = {"test_nll": "its final logits are not finite", "train_loss": "its training loss is not finite"}


@dataclass(frozen=True)
class Diverged:
    """A run that diverged.

    `step` counts optimizer steps from 1, `lr` is the learning rate, `grad_norm` the global norm before clipping, `loss`
    the mean per image: null where the record does not have them, the latter two also where they are not finite.
    """

    run_id: str
    label: str
    seed: int
    step: int | None
    lr: float | None
    grad_norm: float | None
    loss: float | None
    reason: str


def reason(record: Record) -> str | None:
    """Return why a run counts as diverged, None for one that does not."""
    if record.divergence is not None or is_diverged(record.error):
        return diverged_briefly(record.error or "training diverged")
    if record.status != "completed":
        return None
    absent = (text for name, text in NOT_FINITE.items() if name in record.metrics and record.metrics[name] is None)
    return next(absent, None)


def diverged(excluded: Sequence["Excluded"], arms: Sequence["Arm"]) -> list[Diverged]:
    """Return those of the excluded runs that diverged, by label and seed, under the labels of their arms."""
    names = labels(excluded, arms)
    records = [entry.record for entry in excluded if entry.record]
    runs = [_diverged(record, names[record.arm_id], why) for record in records if (why := reason(record))]
    return sorted(runs, key=lambda run: (run.label, run.seed))


def others(excluded: Sequence["Excluded"]) -> list["Excluded"]:
    """Return the excluded runs that did not diverge."""
    return [entry for entry in excluded if entry.record is None or reason(entry.record) is None]


def none_left_out(excluded: Sequence["Excluded"]) -> str:
    """Say that no run, or no run but those that diverged, was left out."""
    return "No other run was left out." if excluded else "No run was left out."


def cells(run: Diverged) -> list[str]:
    """Return the cells of a run in a table with `COLUMNS`."""
    if run.step is None:
        return [run.label, str(run.seed), *[NONE] * 4, run.reason]
    sizes = ["not finite" if value is None else f"{value:.3g}" for value in (run.grad_norm, run.loss)]
    return [run.label, str(run.seed), f"{run.step:,}", f"{run.lr:g}", *sizes, run.reason]


def sentences(excluded: Sequence["Excluded"], arms: Sequence["Arm"]) -> list[str]:
    """Say how many runs diverged, and which arms have no figures because all of their runs did; nothing for none."""
    runs = diverged(excluded, arms)
    if not runs:
        return []
    lost = _lost(excluded, arms)
    times = Counter(run.label for run in runs)
    return [
        f"{several(len(runs), 'run')} diverged: {listed([f'{count} of {label}' for label, count in times.items()])}.",
        *([f"All runs of {listed(lost)} diverged: no figures."] if lost else []),
    ]


def _lost(excluded: Sequence["Excluded"], arms: Sequence["Arm"]) -> list[str]:
    """Return the labels of arms that are not in the report and of which every run on record diverged."""
    names = labels(excluded, arms)
    records = [entry.record for entry in excluded if entry.record is not None]
    not_lost = {record.arm_id for record in records if reason(record) is None} | {arm.arm_id for arm in arms}
    return sorted({names[record.arm_id] for record in records if record.arm_id not in not_lost})


def labels(excluded: Sequence["Excluded"], arms: Sequence["Arm"]) -> dict[str, str]:
    """Return a label by `arm_id`: of arms in the report theirs, of others one that no arm of the report has."""
    members = {arm.arm_id: [run.record for run in arm.runs] for arm in arms}
    for entry in excluded:
        if entry.record is not None:
            members.setdefault(entry.record.arm_id, []).append(entry.record)
    return distinct_labels(members) | {arm.arm_id: arm.label for arm in arms}


def _diverged(record: Record, label: str, why: str) -> Diverged:
    at = record.divergence
    if at is None:
        return Diverged(record.run_id, label, record.seed, None, None, None, None, why)
    return Diverged(record.run_id, label, record.seed, at.step, at.lr, at.grad_norm, at.loss, why)
