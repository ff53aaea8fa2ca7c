"""Publishing: what is uploaded for each run, and that the server then holds what the record says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from tests.wandb_server import WandbServer, check
from wrnexp import app
from wrnexp.cli import main
from wrnexp.errors import UserError
from wrnexp.runs.invocation import Invocation
from wrnexp.runs.locks import exclusive_run
from wrnexp.runs.record import read_metrics, read_record, write_metrics, write_record
from wrnexp.tracking.wandb import content
from wrnexp.tracking.wandb.sink import Wandb
from wrnexp.wandb_publish import runs, server
from wrnexp.wandb_publish.local import LocalRun, deduplicate, find_runs
from wrnexp.wandb_publish.runs import Upload, plan_upload
from wrnexp.wandb_publish.server import RemoteRun

Tiny = Callable[..., DictConfig]
OFFLINE = ("tracking.wandb.mode=offline", "tracking.wandb.code=false")
PICTURES = [f"tracking.media.{name}=true" for name in ("augmented", "mistakes", "confusion", "reliability")]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wandb, "_last_failure", None)
    monkeypatch.setattr(runs, "SETTLING", 1.0)  # this server shows at once what it was sent


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts for a failing server; a working one may be slow on a busy machine."""
    monkeypatch.setattr(runs, "PATIENCE", 5.0)
    monkeypatch.setattr(server, "SECONDS", 3)


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """Return a folder with one offline run of two epochs, with pictures and W&B's files."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_API_KEY", raising=False)
        app.run(tiny(*OFFLINE, *PICTURES), folder / "run", Invocation(shared=folder))
    return folder


@pytest.fixture
def offline(offline_run: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder."""
    return Path(shutil.copytree(offline_run, tmp_path / "offline", symlinks=True))


def published(folder: Path, *options: str) -> int:
    return main(["publish", str(folder), *options])


def changes(wandb_server: WandbServer) -> list[str]:
    """Return the mutations that the server received since the last call."""
    asked = [
        name for name in wandb_server.state.calls if name.startswith(("Upsert", "Create", "Commit", "Use", "Mark"))
    ]
    wandb_server.state.calls.clear()
    return asked


def test_an_offline_run_is_sent_and_then_left_alone(
    offline: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert published(offline, "--dry-run") == 0
    assert "would be sent from W&B's files, 2 epochs" in capsys.readouterr().out
    assert changes(wandb_server) == []
    assert published(offline) == 0
    (run,) = wandb_server.runs.values()
    check(run, offline / "run")
    assert {"requirements.txt", "wandb-metadata.json"} <= run.files.keys()  # which only W&B's files hold
    before = json.dumps([run.history, run.summary, run.config, run.files])
    assert changes(wandb_server)
    assert published(offline) == 0
    assert changes(wandb_server) == []
    assert json.dumps([run.history, run.summary, run.config, run.files]) == before
    assert "is there, nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("lost", [True, False])
def test_a_run_is_uploaded_from_its_record_alone(offline: Path, wandb_server: WandbServer, lost: bool) -> None:
    if lost:
        shutil.rmtree(offline / "wandb")
    assert published(offline, *(() if lost else ("--rebuild",)), "--project", "other") == 0
    assert wandb_server.state.calls.count("Run") <= 4  # nothing was waited for that had not been sent
    (run,) = wandb_server.runs.values()
    check(run, offline / "run")
    record = read_record(offline / "run")
    assert (run.project, run.name, run.job_type) == ("other", record.run_id, "base")
    assert run.settings["optim"]["lr"] == record.config["optim"]["lr"]
    assert run.settings["provenance"]["git_commit"] == record.provenance["git_commit"]
    picture_steps = {key: row["_step"] for row in run.history for key in row if key.startswith("media/")}
    assert picture_steps == {"media/augmented": 0, "media/mistakes": 2, "media/confusion": 2, "media/reliability": 2}
    changes(wandb_server)
    assert published(offline, "--project", "other") == 0
    assert changes(wandb_server) == []


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_a_run_that_is_there_in_part_gets_the_rest(offline: Path, wandb_server: WandbServer, epochs: int) -> None:
    """The connection was lost after `epochs` epochs: W&B's files would upload these twice."""
    record, rows = read_record(offline / "run"), read_metrics(offline / "run")
    run = wandb_server.state.make(None, "wrnexp", record.run_id)
    run.config = {key: {"value": value} for key, value in record.config.items()}
    run.history = [{"_step": row["epoch"], **content.measured(row)} for row in rows[:epochs]]
    run.summary = dict(run.history[-1]) if epochs else {}
    assert published(offline) == 0
    check(run, offline / "run")
    changes(wandb_server)
    assert published(offline) == 0
    assert changes(wandb_server) == []


def test_pieces_of_a_run_become_one(tiny: Tiny, tmp_path: Path, wandb_server: WandbServer) -> None:
    """One process was killed after the first epoch and another resumed, both offline."""

    class Killed(BaseException):
        pass

    def killed(self: Wandb, *arguments: Any) -> None:
        before(self, *arguments)
        raise Killed

    before = Wandb.on_epoch_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wandb, "on_epoch_end", killed)
        patch.setattr(Wandb, "on_run_end", lambda self, record: None)
        with pytest.raises(Killed):
            app.run(tiny(*OFFLINE), tmp_path / "run", Invocation(shared=tmp_path))
        import wandb

        wandb.teardown(137)
    app.run(tiny(*OFFLINE), tmp_path / "run", Invocation(shared=tmp_path))
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2
    assert published(tmp_path) == 0
    (run,) = wandb_server.runs.values()
    check(run, tmp_path / "run")


def test_files_with_a_gap_are_not_sent(offline: Path, wandb_server: WandbServer) -> None:
    """The disk was full for a while, so W&B's files lack epochs of the record."""
    rows, record = read_metrics(offline / "run"), read_record(offline / "run")
    write_record(offline / "run", record.model_copy(update={"files": {}}))
    first = rows[0] | {"epoch": 1, "step": 1}
    write_metrics(offline / "run", [first, rows[0] | {"epoch": 2}, rows[1] | {"epoch": 3}])
    ((run,), _) = find_runs([offline], None, None)
    assert plan_upload(run, None).action == "send"  # 1 and 2 are the first of three
    write_metrics(offline / "run", [first, rows[1] | {"epoch": 3}])
    ((run,), _) = find_runs([offline], None, None)
    assert plan_upload(run, None).action == "complete"
    assert published(offline) == 0
    assert [row["epoch"] for row in wandb_server.runs[run.identity].epochs] == [1, 3]


@pytest.mark.usefixtures("_impatient")
def test_publishing_again_completes_what_a_failing_server_lost(
    offline: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb_server.fail["file_stream"] = (404, 10**6)  # one that the SDK does not try again
    assert published(offline) == 1
    printed = capsys.readouterr()
    assert "failed: " in printed.out
    assert "1 of 1 runs are not whole in W&B; the same command tries again" in printed.err
    wandb_server.fail.clear()
    assert published(offline) == 0
    (run,) = wandb_server.runs.values()
    check(run, offline / "run")


@pytest.mark.usefixtures("_impatient")
def test_a_server_that_does_not_answer_is_reported(
    offline: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb_server.die()
    assert published(offline) == 1
    assert f"error: {wandb_server.url} does not answer" in capsys.readouterr().err


def test_a_failed_run_is_put_there_as_failed(offline: Path, wandb_server: WandbServer) -> None:
    record = read_record(offline / "run")
    record.status, record.error = "failed", "TrainingError: no memory"
    write_record(offline / "run", record)
    shutil.rmtree(offline / "wandb")
    assert published(offline) == 0
    check(wandb_server.runs[record.run_id], offline / "run")
    changes(wandb_server)
    assert published(offline) == 0
    assert changes(wandb_server) == []


def test_a_run_in_training_is_skipped(
    offline: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with exclusive_run(offline / "run"):
        assert published(offline) == 0
    assert "left, it is being trained" in capsys.readouterr().out
    assert wandb_server.runs == {}


def test_the_same_experiment_in_two_folders_is_one_run(
    offline: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(offline / "run", offline / "unfinished")
    record = read_record(offline / "unfinished")
    record.status = "failed"
    write_record(offline / "unfinished", record)
    assert published(offline) == 0
    assert list(wandb_server.runs) == [record.run_id]
    check(wandb_server.runs[record.run_id], offline / "run")
    assert f"left out: {offline / 'unfinished'}: the same experiment" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent", "is not a folder"),
        (lambda folder: folder, "no record.json in or below"),
    ],
)
def test_a_folder_without_runs_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path], message: str
) -> None:
    assert published(make(tmp_path)) == 2
    assert message in capsys.readouterr().err


def test_publishing_without_a_key_says_what_to_do(
    offline: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert published(offline) == 2
    assert "set WANDB_API_KEY, or use `wandb login`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["wandb", ".wandb"])
@pytest.mark.parametrize("below", [".", "run"])
def test_settings_that_came_with_the_runs_choose_no_server(
    offline: Path, name: str, below: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = offline / below / name / "settings"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text("[default]\nbase_url = http://evil.example\n")
    monkeypatch.chdir(offline / below)
    assert published(offline) == 2
    assert f"error: {settings} came with the runs" in capsys.readouterr().err


def test_a_rejected_key_is_reported(
    offline: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb_server.fail["graphql"] = (401, 10**6)
    assert published(offline) == 2
    assert "rejects the API key" in capsys.readouterr().err


def test_what_a_run_lacks_is_named(offline: Path) -> None:
    ((run,), _) = find_runs([offline], None, None)
    remote = complete_remote(run)
    assert plan_upload(run, remote).action == "there"
    for changed, detail in (
        (RemoteRun([1], remote.pictures, remote.summary, "finished"), "1 epoch from its record"),
        (RemoteRun(remote.epochs, frozenset(), remote.summary, "finished"), "4 pictures from its record"),
        (RemoteRun(remote.epochs, remote.pictures, {}, "finished"), "its summary from its record"),
        (RemoteRun(remote.epochs, remote.pictures, remote.summary, "crashed"), "its final state from its record"),
    ):
        assert (plan_upload(run, changed).action, plan_upload(run, changed).detail) == ("complete", detail)
    gap = plan_upload(run, RemoteRun([2], remote.pictures, remote.summary, "finished"))
    assert gap == Upload("there", "except 1 epoch before its last one, which W&B no longer accepts")


def complete_remote(run: LocalRun) -> RemoteRun:
    picture_keys = {f"media/{name}" for name in ("augmented", "mistakes", "confusion", "reliability")}
    return RemoteRun(run.epochs, frozenset(picture_keys), content.summary(run.record), "finished")


def test_a_project_is_the_users_own_choice(offline: Path) -> None:
    ((run,), _) = find_runs([offline], None, None)
    assert (run.project, run.entity) == ("wrnexp", None)
    ((run,), _) = find_runs([offline], "mine", "us")
    assert (run.project, run.entity) == ("mine", "us")


def test_a_record_that_cannot_be_read_is_left_out(offline: Path) -> None:
    shutil.copytree(offline / "run", offline / "broken")
    (offline / "broken" / "record.json").write_text("{")
    _, (left_out,) = find_runs([offline], None, None)
    assert left_out.folder == (offline / "broken").resolve()
    assert "cannot be read" in left_out.reason
    with pytest.raises(UserError, match="no record"):
        find_runs([offline / "wandb"], None, None)


def test_one_experiment_online_and_offline_is_one_run(
    tiny: Tiny, tmp_path: Path, wandb_server: WandbServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One record names the entity, the other uses the account's default."""
    app.run(
        tiny("tracking.wandb.mode=online", "tracking.wandb.code=false"), tmp_path / "one", Invocation(shared=tmp_path)
    )
    app.run(tiny(*OFFLINE), tmp_path / "two", Invocation(shared=tmp_path))
    assert published(tmp_path) == 0
    changes(wandb_server)
    assert published(tmp_path) == 0
    assert changes(wandb_server) == []
    assert "the same experiment as" in capsys.readouterr().out


def test_the_entity_is_that_of_training(offline: Path) -> None:
    (local_runs, _) = find_runs([offline], None, None)
    ((run,), left_out) = deduplicate(local_runs, lambda entity: entity or "account")
    assert (run.entity, left_out) == ("account", [])


def test_summary_values_of_an_earlier_attempt_are_cleared(offline: Path, wandb_server: WandbServer) -> None:
    record = read_record(offline / "run")
    ((run,), _) = find_runs([offline], None, None)
    assert published(offline) == 0
    remote_run = wandb_server.runs[record.run_id]
    remote_run.summary["error"] = "Stopped: terminated (SIGTERM)"
    assert (
        plan_upload(run, RemoteRun([1, 2], complete_remote(run).pictures, remote_run.summary, "finished")).action
        == "complete"
    )
    assert published(offline) == 0
    check(remote_run, offline / "run")


def test_a_damaged_picture_does_not_prevent_publishing(offline: Path, wandb_server: WandbServer) -> None:
    shutil.rmtree(offline / "wandb")
    (offline / "run" / "media" / "mistakes.json").unlink()
    (offline / "run" / "media" / "confusion.png").write_bytes(b"no picture")
    assert published(offline) == 0
    (run,) = wandb_server.runs.values()
    check(run, offline / "run")
    picture_keys = {key for row in run.history for key in row if key.startswith("media/")}
    assert picture_keys == {"media/augmented", "media/reliability"}


def test_damaged_epochs_are_not_published(offline: Path, wandb_server: WandbServer) -> None:
    path = offline / "run" / "metrics.jsonl"
    for data in (path.read_bytes()[:-1], path.read_bytes().replace(b"0.", b"1.", 1), b"\xff", b""):
        path.write_bytes(data)
        runs_there, (left_out,) = find_runs([offline], None, None)
        assert runs_there == []
        assert left_out.reason == "metrics.jsonl is damaged: the run's command writes it again"
    path.unlink()
    _, (left_out,) = find_runs([offline], None, None)
    assert left_out.reason == "metrics.jsonl is absent: the run's command writes it again"
    assert published(offline) == 0
    assert wandb_server.runs == {}


def test_a_run_that_never_began_is_left_out(offline: Path) -> None:
    shutil.copytree(offline / "run", offline / "wrong")
    record = read_record(offline / "wrong")
    record.status, record.error, record.data = "failed", "UserError: model.depth=17", None
    write_record(offline / "wrong", record)
    (offline / "wrong" / "metrics.jsonl").unlink()
    _, (left_out,) = find_runs([offline], None, None)
    assert left_out.reason == "it never began: UserError: model.depth=17"
