"""Arms beside what others publish of the same net, and how the recipes differ (conf/literature.yaml)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from wrnexp.report.arms import ABSENT, Arm
from wrnexp.report.format import listed, percent, points

FILE = Path(__file__).parents[2] / "conf" / "literature.yaml"
NET = ("model.depth", "model.width")
COLUMNS = (
    "arm",
    "test accuracy %",
    "published",
    "its accuracy %",
    "difference, points",
    "how its recipe differs",
    "source",
)


class Published(BaseModel):
    """A published row: top-1 test accuracy on CIFAR-100 in 0..1, and what is known of the recipe, by dotted key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    net: str
    accuracy: float = Field(gt=0, lt=1)
    source: str
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Beside:
    """An arm beside a published row of the same net.

    Attributes:
        arm: its label.
        accuracy: its mean test accuracy, 0..1.
        published: the row.
        differences: the known settings of the row that the arm has otherwise, each as text, and the images where those
            of the arm are not all.
    """

    arm: str
    accuracy: float
    published: Published
    differences: list[str]


@cache
def published() -> tuple[Published, ...]:
    """Return the rows of conf/literature.yaml."""
    return tuple(Published.model_validate(row) for row in yaml.safe_load(FILE.read_text())["rows"])


def beside(arms: Sequence[Arm]) -> list[Beside]:
    """Set each arm on CIFAR-100 beside the published rows of its net, the one with the fewest differences first."""
    return [
        found for arm in arms if _on_cifar100(arm) for found in sorted(_rows(arm), key=lambda one: len(one.differences))
    ]


def cells(row: Beside) -> list[str]:
    """Return a row as text, in the order of `COLUMNS`."""
    difference = points(row.accuracy - row.published.accuracy)
    how = "; ".join(row.differences) or "not in what is known of it"
    return [
        row.arm,
        percent(row.accuracy),
        row.published.net,
        percent(row.published.accuracy),
        difference,
        how,
        row.published.source,
    ]


def notes(arms: Sequence[Arm], rows: Sequence[Beside]) -> list[str]:
    """Say how the comparison is to be read, and which arms have no row."""
    if not any(map(_on_cifar100, arms)):
        return []
    without = [arm.label for arm in arms if arm.label not in {row.arm for row in rows}]
    missing = [f"No published row is known here of the nets of {listed(without)}."] if without and rows else []
    if not rows:
        return ["No published row is known here of these nets."]
    return [
        "Published figures are single numbers or medians of few runs, and a row's recipe is compared as far as it is "
        "known: a difference is no test.",
        *missing,
    ]


def as_json(rows: Sequence[Beside]) -> list[dict[str, Any]]:
    """Return what report.json holds of it."""
    return [
        {
            "arm": row.arm,
            "accuracy": row.accuracy,
            "published": row.published.net,
            "published_accuracy": row.published.accuracy,
            "source": row.published.source,
            "differences": row.differences,
        }
        for row in rows
    ]


def _rows(arm: Arm) -> list[Beside]:
    accuracy = arm.mean(lambda run: run.accuracy)
    config = arm.config
    same = [row for row in published() if all(_equal(config.get(key), row.recipe[key]) for key in NET)]
    return [] if accuracy is None else [Beside(arm.label, accuracy, row, _differences(arm, row)) for row in same]


def _differences(arm: Arm, row: Published) -> list[str]:
    config = arm.config
    found = [
        f"{key} {_text(value)} (here {config.get(key, ABSENT)})"
        for key, value in row.recipe.items()
        if key not in NET and not _equal(config.get(key), value)
    ]
    data = arm.runs[0].record.data
    if data is not None and data.train + data.val < 50_000:
        found.append(f"all 50,000 training images (here {data.train:,})")
    elif data is not None and data.val:
        found.append(f"no images held out (here {data.val:,})")
    if data is not None and data.test < 10_000:
        found.append(f"all 10,000 test images (here {data.test:,})")
    return found


def _equal(ours: str | None, theirs: Any) -> bool:
    try:
        return ours is not None and float(ours) == float(theirs)
    except (TypeError, ValueError):
        return ours == _text(theirs)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _on_cifar100(arm: Arm) -> bool:
    data = arm.runs[0].record.data
    return data is not None and data.name == "cifar100"
