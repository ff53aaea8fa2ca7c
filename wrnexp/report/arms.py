"""Arms: runs that differ in the seed only, under labels that tell them apart."""

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from wrnexp.config import identity
from wrnexp.errors import UserError
from wrnexp.report.measures import Run
from wrnexp.runs.record import Record

ABSENT = "absent"
SHOWN_DIFFERENCES = 3
# Keys that say where a run lies and how it is watched, not what it does.
NOT_SHOWN = ("seed", "name", "label", "rerun", "sweep", "tracking", "data.root")


@dataclass(frozen=True)
class Arm:
    """The runs of one `arm_id`, by seed.

    `label` is unique within a report; `names` are the labels that the records themselves give.
    """

    label: str
    arm_id: str
    names: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return [run.record.seed for run in self.runs]

    @property
    def config(self) -> dict[str, str]:
        """The config that the runs share, flat."""
        return flat(self.runs[0].record.config)

    def by_seed(self, read: Callable[[Run], float | None]) -> dict[int, float]:
        """Return what `read` finds in each run, by seed, without the runs that lack it."""
        values = ((run.record.seed, read(run)) for run in self.runs)
        return {seed: value for seed, value in values if value is not None and math.isfinite(value)}

    def mean(self, read: Callable[[Run], float | None]) -> float | None:
        """Return the mean over the seeds, None where no run has the figure."""
        values = self.by_seed(read).values()
        return fmean(values) if values else None


def group(runs: Iterable[Run]) -> list[Arm]:
    """Group runs into arms, ordered by label (numbers in labels by their value)."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(run.record.arm_id, []).append(run)
    labels = distinct_labels({arm_id: [run.record for run in runs] for arm_id, runs in members.items()})
    arms = [_arm(labels[arm_id], arm_id, found) for arm_id, found in members.items()]
    return sorted(arms, key=lambda arm: natural(arm.label))


def find(arms: Sequence[Arm], name: str) -> Arm:
    """Return the arm with this label, or the only one whose records carry it, or the one with this `arm_id`.

    Raises:
        UserError: there is none, or there are several; the message lists the labels.
    """
    exact = [arm for arm in arms if name in (arm.label, arm.arm_id)]
    found = exact or [arm for arm in arms if name in arm.names]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{len(found)} arms are labelled {name!r}: {_listed(found)}. Give one of these labels, or a run's folder."
        )
    near = difflib.get_close_matches(name, [arm.label for arm in arms], n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"no arm is labelled {name!r}.{hint} There are: {_listed(arms)}.")


def flat(config: Mapping[str, Any]) -> dict[str, str]:
    """Return `group.key: value` as text, without the keys that only name and place a run."""
    shown = {key: value for key, value in config.items() if key not in NOT_SHOWN}
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in identity.flat(shown).items()
        if key not in NOT_SHOWN and value != {}
    }


def differing(configs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys that do not have one value in all of the flat configs, sorted."""
    keys = sorted(set().union(*configs))
    return [key for key in keys if len({config.get(key, ABSENT) for config in configs}) > 1]


def natural(text: str) -> list[tuple[float, str]]:
    """Return a sort key that orders `lr=2` before `lr=10`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(float(part), "") if index % 2 else (math.inf, part) for index, part in enumerate(parts)]


def distinct_labels(members: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """Label each `arm_id`; arms that would share a label get the config values that tell them apart added to it."""
    own = {arm_id: _usual_label(records) for arm_id, records in members.items()}
    times = Counter(own.values())
    labels = {}
    for arm_id, label in own.items():
        rivals = [other for other in own if own[other] == label]
        labels[arm_id] = label if times[label] == 1 else f"{label} ({_mark(arm_id, rivals, members)})"
    times = Counter(labels.values())
    return {arm_id: label if times[label] == 1 else f"{label} ({arm_id})" for arm_id, label in labels.items()}


def _arm(label: str, arm_id: str, runs: list[Run]) -> Arm:
    names = tuple(sorted({run.record.label for run in runs}))
    return Arm(label, arm_id, names, tuple(sorted(runs, key=lambda run: run.record.seed)))


def _usual_label(records: Sequence[Record]) -> str:
    times = Counter(record.label for record in records)
    return min(times, key=lambda label: (-times[label], label))


def _mark(arm_id: str, rivals: list[str], members: Mapping[str, Sequence[Record]]) -> str:
    configs = {rival: flat(members[rival][0].config) for rival in rivals}
    keys = differing(list(configs.values()))
    if not 0 < len(keys) <= SHOWN_DIFFERENCES:
        return arm_id
    return ", ".join(f"{key}={configs[arm_id].get(key, ABSENT)}" for key in keys)


def _listed(arms: Sequence[Arm]) -> str:
    return ", ".join(repr(arm.label) for arm in arms)
