"""Arms image by image and class by class, against statsmodels, scipy and plain loops."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as distributions
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from wrnexp.report.build import build
from wrnexp.report.images import group_changes

WriteRun = Callable[..., Path]
CLASSES = 4
LABELS = np.repeat(np.arange(CLASSES), 50)
SEEDS = (0, 1, 2)


@pytest.fixture
def predicted(write_run: WriteRun) -> dict[str, np.ndarray]:
    """Write two arms with three seeds each and return their answers, `[seeds, images]`."""
    chance = np.random.default_rng(11)
    found = {}
    for label, skill in (("base", 0.75), ("light", 0.6)):
        rows = [np.where(chance.random(200) < skill, LABELS, (LABELS + 1) % CLASSES) for _ in SEEDS]
        for seed, row in zip(SEEDS, rows, strict=True):
            folder = write_run(label, seed, float((row == LABELS).mean()))
            np.savez(folder / "predictions.npz", logits=np.eye(CLASSES, dtype=np.float16)[row], labels=LABELS)
        found[label] = np.stack(rows)
    return found


def _built(outputs: Path, tmp_path: Path) -> Any:
    report = build([outputs], tmp_path / "report")
    return report, json.loads((tmp_path / "report" / "report.json").read_text())


def test_each_seed_is_tested_as_statsmodels_does(
    predicted: dict[str, np.ndarray], outputs: Path, tmp_path: Path
) -> None:
    _, found = _built(outputs, tmp_path)
    (pair,) = found["per_image"]
    assert (pair["a"], pair["b"], [row["seed"] for row in pair["seeds"]]) == ("base", "light", [0, 1, 2])
    for row, own, other in zip(pair["seeds"], predicted["base"], predicted["light"], strict=True):
        a, b = own == LABELS, other == LABELS
        counts = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        assert [[row["both"], row["only_a"]], [row["only_b"], row["neither"]]] == counts
        assert row["p"] == pytest.approx(mcnemar(counts, exact=True).pvalue, abs=1e-9)
        assert row["difference"] == pytest.approx(b.mean() - a.mean(), abs=1e-12)
        assert row["ci95"][0] < row["difference"] < row["ci95"][1]


def test_images_are_named_that_differ_in_every_seed(
    predicted: dict[str, np.ndarray], outputs: Path, tmp_path: Path
) -> None:
    _, found = _built(outputs, tmp_path)
    wanted: dict[str, list[int]] = {"a": [], "b": []}
    for image, label in enumerate(LABELS.tolist()):
        own, other = ({bool(right) for right in predicted[arm][:, image] == label} for arm in ("base", "light"))
        if own == {True} and other == {False}:
            wanted["a"].append(image)
        if own == {False} and other == {True}:
            wanted["b"].append(image)
    assert wanted["a"]
    assert found["per_image"][0]["only_a_in_every_seed"] == wanted["a"]
    assert found["per_image"][0]["only_b_in_every_seed"] == wanted["b"]


@pytest.mark.parametrize("groups", [[0, 1, 2, 3], [0, 0, 1, 1]])
def test_groups_of_classes_are_tested_as_scipy_does(
    predicted: dict[str, np.ndarray], outputs: Path, tmp_path: Path, groups: list[int]
) -> None:
    report, _ = _built(outputs, tmp_path)
    changes = group_changes(report.answers.common("light"), np.array(groups))
    p_values = []
    for change in changes:
        inside = np.array(groups)[LABELS] == change.group
        own, other = ((predicted[arm][:, inside] == LABELS[inside]).mean(1) for arm in ("base", "light"))
        test = distributions.ttest_rel(other, own)
        assert (change.images, change.paired.n) == (inside.sum(), 3)
        assert [change.mean_a, change.mean_b] == pytest.approx([own.mean(), other.mean()], abs=1e-12)
        assert change.paired.p == pytest.approx(test.pvalue, abs=1e-9)
        assert change.paired.ci95 == pytest.approx(tuple(test.confidence_interval()), abs=1e-9)
        p_values.append(test.pvalue)
    assert [change.p_holm for change in changes] == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-9)
