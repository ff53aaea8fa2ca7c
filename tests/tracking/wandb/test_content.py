"""The contents of a W&B run."""

from typing import Any

import pytest

from wrnexp.runs.record import Record
from wrnexp.tracking.wandb import content


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {"run_id": "0123456789", "arm_id": "9876543210", "label": "light dropout=0", "seed": 3}
    return Record(**(fields | changes))


def test_a_run_has_one_id_however_often_it_is_started() -> None:
    started = {"started": "2026-01-02T03:04:05+00:00"}
    assert content.wandb_id(record(provenance=started)) == "0123456789"
    assert content.wandb_id(record(provenance=started, config={"rerun": True})) == "0123456789-202601020304050000"
    published = record(provenance={"wandb_run": {"id": "sweep1-7"}}, config={"rerun": True})
    assert content.wandb_id(published) == "sweep1-7"


def test_a_run_is_found_by_sweep_recipe_and_overrides() -> None:
    arguments = content.init_arguments(
        record(sweep="dropout", overrides=["model.dropout=0", "seed=3"], config={"model": {"dropout": 0.0}},
               provenance={"recipe": "light", "torch": "2.14", "wandb_run": {"id": "a"}}),
        ["paper"],
    )  # fmt: skip
    assert (arguments["group"], arguments["job_type"], arguments["name"]) == (
        "dropout",
        "light",
        "light dropout=0 seed 3",
    )
    assert (arguments["notes"], arguments["tags"]) == ("model.dropout=0 seed=3", ["paper"])
    assert arguments["config"]["model"] == {"dropout": 0.0}
    assert arguments["config"]["run"]["arm_id"] == "9876543210"
    assert arguments["config"]["provenance"] == {"recipe": "light", "torch": "2.14"}


def test_an_early_record_names_its_label_as_the_recipe() -> None:
    assert content.init_arguments(record(label="base"), [])["job_type"] == "base"


def test_the_summary_is_the_record_without_what_was_not_measured() -> None:
    measured = record(metrics={"test_accuracy": 0.5, "val_accuracy": None}, status="completed", test_looks=2)
    measured.cost.train_seconds = 3.5
    measured.time_to["0.50"] = 2.0
    summary = {name: value for name, value in content.summary(measured).items() if value is not None}
    assert summary == {
        "test_accuracy": 0.5, "train_seconds": 3.5, "steps": 0, "images": 0, "time_to/0.50": 2.0, "test_looks": 2,
        "status": "completed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        ("completed", None, 0),
        ("failed", "TrainingError: x", 1),
        ("interrupted", "KeyboardInterrupt", 130),
        ("interrupted", "Pruned: after epoch 2 of 4", 0),  # as the search that started it wanted
        ("running", None, 1),  # killed
    ],
)
def test_the_exit_code_says_how_it_ended(status: Any, error: str | None, code: int) -> None:
    assert content.exit_code(record(status=status, error=error)) == code


def test_the_run_of_a_sweep_stays_in_the_sweeps_project() -> None:
    standalone = record(provenance={"wandb_run": {"id": "own", "project": "mine", "entity": "me"}})
    assert content.destination(standalone, "given", None) == ("given", None)
    assert content.sweep_id(standalone, "mine") is None
    swept = record(provenance={"wandb_run": {"id": "theirs", "project": "shared", "entity": "us", "sweep": "s1"}})
    assert content.wandb_id(swept) == "theirs"
    assert content.destination(swept, "given", None) == ("shared", "us")
    assert (content.sweep_id(swept, "shared"), content.sweep_id(swept, "given")) == ("s1", None)
    early = record(provenance={"wandb_run": {"id": "theirs", "sweep": "s1"}})  # W&B was never asked where that is
    assert content.destination(early, "given", "me") == ("given", "me")
    assert content.sweep_id(early, "given") == "s1"
