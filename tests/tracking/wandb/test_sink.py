"""The W&B sink with the real SDK, online and offline: W&B holds what the record says."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.wandb_server import WandbServer, check
from wrnexp import app
from wrnexp.errors import TrainingError
from wrnexp.runs.invocation import Invocation
from wrnexp.runs.record import Record, read_metrics, read_record
from wrnexp.tracking.wandb.files import fragments
from wrnexp.tracking.wandb.sink import Wandb

pytest.importorskip("wandb")

Tiny = Callable[..., DictConfig]
ONLINE = ("tracking.wandb.mode=online", "tracking.wandb.code=false")
OFFLINE = ("tracking.wandb.mode=offline", "tracking.wandb.code=false")
PICTURES = [f"tracking.media.{name}=true" for name in ("augmented", "mistakes", "confusion", "reliability")]
SHORT = ("optim.epochs=1", "optim.schedule.warmup_epochs=0")


@pytest.fixture(autouse=True)
def _no_earlier_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wandb, "_last_failure", None)


def entries(folder: Path, kind: str) -> list[Any]:
    """Return the entries of this kind that W&B's reader finds in a local run."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    completed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    lines = [json.loads(line) for line in completed.stdout.splitlines()]
    return [line[kind] for line in lines if line["type"] == kind]


def test_an_offline_run_mirrors_the_record(tiny: Tiny, tmp_path: Path) -> None:
    job = Invocation(sweep="two", overrides=["seed=0"], recipe="base", shared=tmp_path)
    record = app.run(tiny(*OFFLINE), tmp_path / "run", job)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith(record.run_id)
    (run,) = entries(folder, "run")
    assert run["config"]["update"]["model"]["depth"] == 10
    assert (run["run_group"], run["job_type"], run["notes"]) == ("two", "base", "seed=0")
    (fragment,) = fragments(tmp_path / "wandb", record.run_id)
    assert fragment.epochs == [row["epoch"] for row in read_metrics(tmp_path / "run")] == [1, 2]
    assert [entry.get("exit_code", 0) for entry in entries(folder, "exit")] == [0]


def test_two_runs_in_one_process_are_two(tiny: Tiny, tmp_path: Path) -> None:
    for seed in (0, 1):
        app.run(tiny(*OFFLINE, f"seed={seed}", *SHORT), tmp_path / str(seed), Invocation(shared=tmp_path))
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
    for seed in (0, 1):
        (fragment,) = fragments(tmp_path / "wandb", read_record(tmp_path / str(seed)).run_id)
        assert fragment.epochs == [1]


def test_an_online_run_mirrors_the_record(tiny: Tiny, tmp_path: Path, wandb_server: WandbServer) -> None:
    job = Invocation(sweep="two", overrides=["seed=0"], recipe="light", shared=tmp_path)
    extra = ("tracking.wandb.project=paper", "tracking.wandb.tags=[one,two]", "data.val_size=16", *PICTURES)
    record = app.run(tiny(*ONLINE, *extra), tmp_path / "run", job)
    (run,) = wandb_server.runs.values()
    check(run, tmp_path / "run")
    assert (run.project, run.name, run.group, run.job_type) == ("paper", record.run_id, "two", "light")
    assert (run.tags, run.notes, run.display) == (["one", "two"], "seed=0", "light seed 0")
    assert run.settings["model"] == record.config["model"]
    assert record.data is not None
    assert run.settings["digest"] == record.data.digest
    assert {"requirements.txt", "wandb-metadata.json"} <= run.files.keys()
    # The grid is there before the first step, the other pictures with the last epoch.
    picture_keys = [{key for key in row if key.startswith("media/")} for row in run.history]
    assert picture_keys == [{"media/augmented"}, set(), {"media/mistakes", "media/confusion", "media/reliability"}]
    assert [row["_step"] for row in run.history] == [0, 1, 2]
    table = run.history[2]["media/mistakes"]
    assert (table["_type"], table["ncols"]) == ("table-file", 7)
    assert read_record(tmp_path / "run").provenance["wandb_run"] == {
        "id": record.run_id, "entity": "me", "project": "paper", "mode": "online",
    }  # fmt: skip
    assert wandb_server.state.unknown == []


def test_a_failed_run_has_failed_at_the_server(tiny: Tiny, tmp_path: Path, wandb_server: WandbServer) -> None:
    with pytest.raises(TrainingError):
        app.run(tiny(*ONLINE, "optim.lr=1e30"), tmp_path / "run", Invocation(shared=tmp_path))
    (run,) = wandb_server.runs.values()
    assert (run.state, run.exit_code, run.summary["status"]) == ("failed", 1, "failed")
    assert "the training loss is" in run.summary["error"]


def test_code_is_saved_once_and_results_on_request(tiny: Tiny, tmp_path: Path, wandb_server: WandbServer) -> None:
    for seed in (0, 1):
        app.run(
            tiny("tracking.wandb.mode=online", "tracking.wandb.artifacts=true", f"seed={seed}", *SHORT),
            tmp_path / str(seed),
            Invocation(shared=tmp_path),
        )
    assert wandb_server.state.unknown == []
    source, *_ = artifacts = wandb_server.artifacts
    named = [(artifact.type, artifact.name) for artifact in artifacts]
    ids = [read_record(tmp_path / str(seed)).run_id for seed in (0, 1)]
    results = [(kind, f"{kind}-{name}") for name in ids for kind in ("model", "predictions")]
    assert sorted(named) == sorted([("source", "wrnexp"), ("dataset", "data-shapes"), *results])
    (name,) = source.files
    with zipfile.ZipFile(wandb_server.uploads / "artifact" / source.id / name) as archive:
        assert archive.read("wrnexp/app.py") == Path(app.__file__).read_bytes()
    model = next(artifact for artifact in artifacts if artifact.type == "model")
    uploaded = wandb_server.uploads / "artifact" / model.id / "model.safetensors"
    assert uploaded.read_bytes() == (tmp_path / "0" / "model.safetensors").read_bytes()
    data = next(artifact for artifact in artifacts if artifact.type == "dataset")
    assert data.used_by == ids
    assert data.metadata["digest"] == model.metadata["data"]["digest"] != {}


def test_a_resumed_run_continues_its_wandb_run(tiny: Tiny, tmp_path: Path, wandb_server: WandbServer) -> None:
    """A process that resumes a fully logged run adds nothing."""
    config = tiny(*ONLINE, *PICTURES)
    app.run(config, tmp_path / "run", Invocation(shared=tmp_path))
    before = [dict(row) for row in wandb_server.runs[read_record(tmp_path / "run").run_id].history]
    for name in ("record.json", "predictions.npz", "model.safetensors"):  # as if killed after the last checkpoint
        (tmp_path / "run" / name).unlink()
    app.run(config, tmp_path / "run", Invocation(shared=tmp_path))
    (run,) = wandb_server.runs.values()
    check(run, tmp_path / "run")
    assert run.history == before


@pytest.mark.parametrize(
    "fault", ["hang", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("refuse", "error", "unauthorized"))]
)
def test_a_server_that_does_not_answer_is_not_waited_for(
    tiny: Tiny, tmp_path: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    if fault == "refuse":
        wandb_server.die()
    elif fault == "hang":
        wandb_server.hang()
    else:
        wandb_server.fail["graphql"] = (500 if fault == "error" else 401, 10**6)
    settings = (*ONLINE, "tracking.wandb.patience=1.5", *SHORT)
    for seed in (0, 1):  # the second job does not ask again
        record = app.run(tiny(*settings, f"seed={seed}"), tmp_path / str(seed), Invocation(shared=tmp_path))
        assert record.status == "completed"
        assert record.provenance["wandb_run"]["mode"] == "offline"
        (fragment,) = [candidate for candidate in fragments(tmp_path / "wandb", record.run_id) if candidate.epochs]
        assert fragment.epochs == [1]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert len(warnings) == 2
    assert "this run is logged offline" in warnings[0]
    assert "did not answer a while ago" in warnings[1]
    assert f"wrnexp publish {tmp_path / '1'}" in warnings[1]
    wandb_server.recover()


def test_a_server_that_dies_keeps_no_run_from_ending(
    tiny: Tiny, tmp_path: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def log(self: Wandb, record: Record, rows: Sequence[dict[str, Any]]) -> None:
        before(self, record, rows)
        wandb_server.die()

    before = Wandb.on_epoch_end
    monkeypatch.setattr(Wandb, "on_epoch_end", log)
    record = app.run(tiny(*ONLINE, "tracking.wandb.patience=2"), tmp_path / "run", Invocation(shared=tmp_path))
    assert record.status == "completed"
    (fragment,) = fragments(tmp_path / "wandb", record.run_id)
    assert fragment.epochs == [1, 2]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "publish" in line]
    assert len(warnings) == 1
    assert "did not receive everything within 2 s" in warnings[0]


def test_a_folder_that_cannot_be_written_causes_a_warning_and_no_other_is_used(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wandb").write_text("a file where W&B's folder would be")
    record = app.run(tiny(*OFFLINE, *SHORT), tmp_path / "run", Invocation(shared=tmp_path))
    assert record.status == "completed"
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert len(warnings) == 1
    assert "no local files" in warnings[0]


def test_a_full_disk_causes_one_warning(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 0

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Full)
    record = app.run(tiny(*OFFLINE), tmp_path / "run", Invocation(shared=tmp_path))
    assert record.status == "completed"
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("W&B")]
    assert len(warnings) == 1
    assert "is full, its files are truncated" in warnings[0]
