import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wrnexp.errors import UserError
from wrnexp.report.collect import Collection, comparable, find_runs

WriteRun = Callable[..., Path]


def _reason(found: Collection, run_id: str) -> str:
    (reason,) = [entry.reason for entry in found.excluded if entry.run_id == run_id]
    return reason


def _seeds(found: Collection) -> dict[str, list[int]]:
    return {arm.label: arm.seeds for arm in found.arms}


def test_runs_are_found_at_any_depth_and_once(write_run: WriteRun, outputs: Path) -> None:
    run = write_run("base", 0, 0.7)
    write_run("base", 1, 0.71, folder="a/b/c/run")
    assert _seeds(find_runs([outputs, run, outputs / "a"])) == {"base": [0, 1]}
    assert _seeds(find_runs([run])) == {"base": [0]}


@pytest.mark.parametrize("hidden", [".hydra", ".trash/base", "wandb/base", "x/wandb"])
def test_hidden_folders_and_wandbs_are_passed_over(write_run: WriteRun, outputs: Path, hidden: str) -> None:
    write_run("base", 0, 0.7)
    write_run("base", 1, 0.7, folder=f"{hidden}/run")
    assert _seeds(find_runs([outputs])) == {"base": [0]}


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_runs_that_are_not_completed_are_set_apart(write_run: WriteRun, outputs: Path, status: str) -> None:
    write_run("base", 0, 0.7)
    write_run("base", 1, 0.7, status=status, error="ValueError: no")
    found = find_runs([outputs])
    assert _seeds(found) == {"base": [0]}
    reason = _reason(found, "run-base-1")
    assert reason == f"outputs/base/arm-base-1: status is {status} (ValueError: no)"


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({}, "no test accuracy"),
        ({"test_accuracy": None}, "no test accuracy"),
        ({"test_accuracy": 1.01}, "test accuracy 1.01 is not in 0..1"),
        ({"test_accuracy": 70.3}, "test accuracy 70.3 is not in 0..1"),
        ({"test_accuracy": -0.1}, "test accuracy -0.1 is not in 0..1"),
    ],
)
def test_runs_without_a_possible_accuracy_are_set_apart(
    write_run: WriteRun, outputs: Path, metrics: dict[str, float | None], reason: str
) -> None:
    write_run("base", 0, 0.7)
    write_run("base", 1, None, metrics=metrics)
    found = find_runs([outputs])
    assert _seeds(found) == {"base": [0]}
    assert reason in _reason(found, "run-base-1")


def test_the_ends_of_the_range_are_possible(write_run: WriteRun, outputs: Path) -> None:
    write_run("base", 0, 0.0)
    write_run("base", 1, 1.0)
    assert _seeds(find_runs([outputs])) == {"base": [0, 1]}


def _edit(run: Path, **changes: object) -> None:
    path = run / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_record_of_a_newer_schema_is_set_apart_under_its_own_id(write_run: WriteRun, outputs: Path) -> None:
    write_run("base", 0, 0.7)
    _edit(write_run("base", 1, 0.7), schema_version=2)
    assert "schema version 2 is newer" in _reason(find_runs([outputs]), "run-base-1")


def test_a_record_with_nan_is_set_apart(write_run: WriteRun, outputs: Path) -> None:
    write_run("base", 0, 0.7)
    _edit(write_run("base", 1, 0.7), metrics={"test_accuracy": float("nan")})
    assert "test_accuracy" in _reason(find_runs([outputs]), "run-base-1")


@pytest.mark.parametrize("content", ["", '{"run_id": "abc"', "[1, 2]", '"text"', "\x80"])
def test_a_record_that_is_cut_short_is_set_apart_under_its_folders_name(
    write_run: WriteRun, outputs: Path, content: str
) -> None:
    write_run("base", 0, 0.7)
    broken = write_run("base", 1, 0.7)
    (broken / "record.json").write_bytes(content.encode("latin-1"))
    assert "cannot be read" in _reason(find_runs([outputs]), broken.name)


def test_of_one_arm_and_seed_the_first_finished_is_kept_whatever_its_result(write_run: WriteRun, outputs: Path) -> None:
    late, early = {"finished": "2026-01-02T00:30:00+01:00"}, {"finished": "2026-01-01T23:15:00+00:00"}
    write_run("base", 0, 0.9, folder="a/late", provenance={"finished": None}, run_id="never")
    write_run("base", 0, 0.7, folder="b/early", provenance=early, run_id="early")
    write_run("base", 0, 0.8, folder="c/late", provenance=late, run_id="late")
    found = comparable(find_runs([outputs]))
    assert [run.record.run_id for run in found.arms[0].runs] == ["early"]
    for run_id in ("late", "never"):
        assert "the same arm and seed as outputs/b/early, which finished first" in _reason(found, run_id)


@pytest.mark.parametrize(
    "other",
    [{"digest": {"train": "36ce7a70", "test": "00000000"}}, {"name": "cifar10"}, {"test": 500}],
    ids=["digest", "name", "test images"],
)
def test_runs_on_other_data_than_most_are_set_apart(
    write_run: WriteRun, outputs: Path, other: dict[str, object]
) -> None:
    write_run("a", 0, 0.9, data=other)
    for seed in range(2):
        write_run("base", seed, 0.7)
    found = comparable(find_runs([outputs]))
    assert _seeds(found) == {"base": [0, 1]}
    assert "are not those of most runs (cifar100, 10,000 test images" in _reason(found, "run-a-0")


def test_the_number_of_training_images_may_differ(write_run: WriteRun, outputs: Path) -> None:
    write_run("base", 0, 0.7)
    write_run("half", 0, 0.6, data={"train": 25_000})
    assert _seeds(comparable(find_runs([outputs]))) == {"base": [0], "half": [0]}


def test_no_record_is_the_users_mistake(outputs: Path) -> None:
    outputs.mkdir()
    with pytest.raises(UserError, match=r"no record\.json in or below .*outputs"):
        find_runs([outputs])


def test_a_missing_folder_is_the_users_mistake(outputs: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        find_runs([outputs])


def test_only_unfinished_runs_is_the_users_mistake(write_run: WriteRun, outputs: Path) -> None:
    for seed in range(5):
        write_run("base", seed, 0.7, status="failed", error=f"Error: number {seed}")
    with pytest.raises(UserError, match=r"no completed run .*number 0.*; and 2 more"):
        find_runs([outputs])
