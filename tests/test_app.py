"""A whole run in this process: what it leaves on disk, how it goes on, how it fails."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from omegaconf import DictConfig
from safetensors.torch import load_file

from tests.stopping_halfway import interrupting
from wrnexp import app
from wrnexp.config import identity
from wrnexp.errors import DivergedError, Stopped, UserError, is_diverged
from wrnexp.models import WideResNet
from wrnexp.optim import SGDRecipe
from wrnexp.runs.digests import damaged_files
from wrnexp.runs.invocation import Invocation
from wrnexp.runs.record import Record, read_metrics, read_record

Tiny = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """The folder of one run that several tests look at."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    complete(tiny, folder)
    return folder


def complete(tiny: Tiny, folder: Path) -> Record:
    return app.run(tiny("data.val_size=24"), folder)


def test_a_run_leaves_what_the_contract_lists(tiny: Tiny, finished: Path) -> None:
    record = complete(tiny, finished)
    assert record.status == "completed"
    assert record == read_record(finished)
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert names == {
        ".lock", "record.json", "metrics.jsonl", "predictions.npz", "model.safetensors", "curves.png",
        "checkpoints/last.pt", "checkpoints/best.pt",
    }  # fmt: skip
    assert (record.run_id, record.arm_id) == (identity.run_id(record.config), identity.arm_id(record.config))
    assert (record.label, record.sweep, record.seed) == ("base", None, 0)
    assert record.data is not None
    assert (record.data.name, record.data.train, record.data.val, record.data.test) == ("shapes", 96, 24, 48)
    assert record.test_looks == 2
    assert set(record.time_to) == {"0.50", "0.60", "0.70", "0.75", "0.80"}
    cost = record.cost
    assert cost.data_wait is not None
    assert 0 < cost.data_wait < 1
    assert cost.verdict is not None
    assert cost.flops_utilization is None  # no stated peak of a processor
    assert (cost.steps, cost.images) == (2 * 6, 2 * 96)
    assert cost.parameters == sum(value.numel() for value in WideResNet(10, 1, 0.3, 0.0, num_classes=24).parameters())
    assert {"git_commit", "git_dirty", "python", "torch", "device", "started", "finished"} <= set(record.provenance)


def test_the_figures_agree_with_each_other(tiny: Tiny, finished: Path) -> None:
    record = complete(tiny, finished)
    rows = read_metrics(finished)
    saved = np.load(finished / "predictions.npz")
    logits, labels = saved["logits"], saved["labels"]
    assert (logits.dtype, labels.dtype, logits.shape) == (np.float16, np.int64, (48, 24))
    assert (np.diff(labels) >= 0).all()  # the canonical order is by label
    assert (
        record.metrics["test_accuracy"]
        == rows[-1]["test_accuracy"]
        == pytest.approx(float((logits.argmax(1) == labels).mean()), abs=1.01 / 48)
    )
    held_out, answers = saved["val_labels"], saved["val_logits"]
    assert (answers.dtype, answers.shape) == (np.float16, (24, 24))
    assert (
        record.metrics["val_accuracy"]
        == rows[-1]["val_accuracy"]
        == pytest.approx(float((answers.argmax(1) == held_out).mean()), abs=1.01 / 24)
    )
    assert record.cost.train_seconds == pytest.approx(sum(row["seconds"] for row in rows))
    text = (finished / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in text] == [1, 2]


def test_the_weights_are_those_that_answered(tiny: Tiny, finished: Path) -> None:
    record = complete(tiny, finished)
    model = WideResNet(10, 1, 0.3, 0.0, num_classes=24)
    model.load_state_dict(load_file(finished / "model.safetensors"))
    last = torch.load(finished / "checkpoints" / "last.pt", weights_only=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, last["model"][name])
    assert record.metrics["test_nll"] is not None
    assert math.isfinite(record.metrics["test_nll"])


def test_the_record_has_the_digests_of_the_files(tiny: Tiny, finished: Path) -> None:
    record = complete(tiny, finished)
    names = ("predictions.npz", "model.safetensors", "metrics.jsonl")
    assert record.files == {name: hashlib.sha256((finished / name).read_bytes()).hexdigest() for name in names}
    assert damaged_files(finished, record) == []


def test_a_complete_run_is_not_run_again(tiny: Tiny, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = complete(tiny, finished)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert complete(tiny, finished) == record
    assert "complete already" in capsys.readouterr().out
    del before[finished / ".lock"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_one_seed_gives_one_result_and_another_another(tiny: Tiny, tmp_path: Path) -> None:
    one, same, other = (app.run(tiny(f"seed={seed}"), tmp_path / str(index)) for index, seed in enumerate((1, 1, 2)))
    assert one.metrics == same.metrics
    assert one.metrics["train_loss"] != other.metrics["train_loss"]
    assert one.arm_id == other.arm_id
    assert one.run_id != other.run_id


def test_a_stopped_run_goes_on(tiny: Tiny, tmp_path: Path, trained_run: Path) -> None:
    whole = read_record(trained_run)
    with interrupting(), pytest.raises(KeyboardInterrupt):
        app.run(tiny(), tmp_path / "stopped")
    assert read_record(tmp_path / "stopped").status == "interrupted"
    assert len(read_metrics(tmp_path / "stopped")) == 1
    resumed = app.run(tiny(), tmp_path / "stopped")
    assert resumed.status == "completed"
    assert resumed.metrics == whole.metrics
    assert resumed.cost.steps == whole.cost.steps


def test_a_run_that_ends_at_its_time_limit_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    whole = app.run(tiny(), tmp_path / "whole")
    with pytest.raises(Stopped) as stopped:
        app.run(tiny("trainer.max_seconds=1e-6"), tmp_path / "limited")
    assert stopped.value.code == 124
    record = read_record(tmp_path / "limited")
    assert (record.status, record.run_id) == ("interrupted", whole.run_id)
    assert record.error == (
        "Stopped: time limit of 1e-06 s reached (trainer.max_seconds); checkpointed up to step 1 of 6 in epoch 1"
    )
    assert record.config["trainer"]["max_seconds"] == 1e-6
    resumed = app.run(tiny(), tmp_path / "limited")
    assert resumed.status == "completed"
    assert resumed.metrics == whole.metrics
    assert "resumed" in resumed.provenance
    last, expected = (
        torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=True) for name in ("limited", "whole")
    )
    assert all(torch.equal(last["model"][name], value) for name, value in expected["model"].items())


def test_a_run_killed_after_its_last_checkpoint_ends_with_the_whole_record(
    tiny: Tiny, tmp_path: Path, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_record(trained_run)

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(app, "save_results", stop)
        with pytest.raises(KeyboardInterrupt):
            app.run(tiny(), tmp_path / "killed")
    started = read_record(tmp_path / "killed").provenance["started"]
    (tmp_path / "killed" / "metrics.jsonl").unlink()
    ended = app.run(tiny(), tmp_path / "killed")
    assert ended.metrics == whole.metrics
    assert (ended.files.keys(), damaged_files(tmp_path / "killed", ended)) == (whole.files.keys(), [])
    assert (ended.cost.steps, ended.cost.images) == (whole.cost.steps, whole.cost.images)
    assert ended.cost.train_seconds > 0
    assert ended.provenance["started"] == started
    assert [row["epoch"] for row in read_metrics(tmp_path / "killed")] == [1, 2]


def test_a_wrong_value_leaves_a_failed_record(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.dropout=1\.5"):
        app.run(tiny("model.dropout=1.5"), tmp_path)
    record = read_record(tmp_path)
    assert record.status == "failed"
    assert record.error is not None
    assert "0 <= x < 1" in record.error
    assert "\n" not in record.error


def test_a_missing_data_root_is_the_users_mistake(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        app.run(tiny("data=cifar100", f"data.root={tmp_path}/nowhere"), tmp_path / "run")
    assert read_record(tmp_path / "run").status == "failed"


def test_a_batch_larger_than_the_data(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loader\.batch_size.*96"):
        app.run(tiny("loader.batch_size=512"), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


ONE_STEP = ("optim.epochs=1", "loader.batch_size=32", "data.train_limit=32", "data.test_limit=32")


@pytest.mark.parametrize(
    ("changes", "step", "words"),
    [
        (("optim.lr=1e30",), 1, "the test loss is nan in epoch 1, step 1 of 1"),  # the last update breaks it
        (("optim.weight_decay=1e10", "optim.epochs=2"), 1, "the test loss is nan"),
        (("optim.lr=1e4", "optim.epochs=2", "loader.batch_size=8"), 2, "the training loss is 1"),  # finite, exploded
        (
            ("optim.lr=1e30", "trainer.ema=0.9", "data.val_size=16"),
            1,
            "the validation loss is nan",
        ),
    ],
)
def test_a_run_that_diverges_fails_with_a_reason_and_leaves_no_checkpoint_of_it(
    tiny: Tiny, tmp_path: Path, changes: tuple[str, ...], step: int, words: str
) -> None:
    with pytest.raises(DivergedError, match=rf"{words}.*optim\.lr.*no checkpoint"):
        app.run(tiny("optim.schedule.warmup_epochs=0", *ONE_STEP, *changes), tmp_path)
    record = read_record(tmp_path)
    assert record.status == "failed"
    assert is_diverged(record.error)
    assert record.divergence is not None
    assert (record.divergence.step, record.divergence.action) == (step, "stop")
    assert record.divergence.lr > 0
    assert not (tmp_path / "checkpoints").exists()
    assert not (tmp_path / "predictions.npz").exists()


@pytest.mark.parametrize(
    "changes",
    [
        ("optim.lr=0.8", "optim.epochs=1"),
        pytest.param(
            ("optim.lr=0.8", "data.train_limit=2048", "loader.batch_size=512", "optim.accumulate=2"),
            marks=pytest.mark.slow,
        ),
        pytest.param(("optim.lr=0.8", "model.depth=16", "optim.epochs=4"), marks=pytest.mark.slow),
    ],
)
def test_a_high_rate_without_warm_up_is_no_divergence(tiny: Tiny, tmp_path: Path, changes: tuple[str, ...]) -> None:
    assert app.run(tiny("optim.schedule.warmup_epochs=0", *changes), tmp_path).status == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_recoveries_do_not_depend_on_the_loader_s_processes(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """The loss of the 8th step is not a number; a rollback leaves an epoch of the loader in its middle."""
    plain, calls = SGDRecipe.loss, itertools.count(1)
    monkeypatch.setattr(SGDRecipe, "loss", lambda self, *of: plain(self, *of) * (math.nan if next(calls) == 8 else 1.0))
    left = []
    for workers in (0, 2):
        calls = itertools.count(1)
        loader = (f"loader.workers={workers}", "loader.persistent_workers=true", "tracking.console.progress=lines")
        record = app.run(tiny(f"trainer.on_divergence={action}", *loader), tmp_path / str(workers))
        assert record.status == "completed"
        assert [(one.step, one.action) for one in record.recoveries] == [(8, action)]
        assert capsys.readouterr().out.count("step 8 ") == 1
        left.append(
            [(tmp_path / str(workers) / name).read_bytes() for name in ("model.safetensors", "predictions.npz")]
        )
    assert left[0] == left[1]


def test_a_second_process_is_kept_out(tiny: Tiny, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(UserError, match="another process"):
        app.run(tiny(), tmp_path)


def test_what_the_job_says_is_in_the_record(tiny: Tiny, tmp_path: Path) -> None:
    job = Invocation(sweep="dropout", overrides=["model.dropout=0.1"], recipe="light")
    record = app.run(tiny("optim.epochs=1", "optim.schedule.warmup_epochs=0"), tmp_path, job)
    assert (record.label, record.sweep, record.overrides) == ("light", "dropout", ["model.dropout=0.1"])


def test_the_average_is_what_is_kept(tiny: Tiny, tmp_path: Path) -> None:
    app.run(tiny("trainer.ema=0.9"), tmp_path)
    last = torch.load(tmp_path / "checkpoints" / "last.pt", weights_only=True)
    kept = load_file(tmp_path / "model.safetensors")
    assert not torch.equal(kept["stem.weight"], last["model"]["stem.weight"])
    assert torch.equal(kept["stem.weight"], last["average"]["model"]["stem.weight"])
