"""W&B from the user's side: whole commands in separate processes, against a local server."""

import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig

from tests.wandb_server import WandbServer, check
from wrnexp import app
from wrnexp.cli import main
from wrnexp.errors import Stopped
from wrnexp.runs.journal import Journal
from wrnexp.runs.record import read_metrics, read_record, record_folders

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, str(ROOT / "run.py")]
ONLINE = ["tracking.wandb.mode=auto", "tracking.wandb.code=false"]
OFFLINE = ["tracking.wandb.mode=offline", "tracking.wandb.code=false"]
NOBODY = ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "WANDB_SILENT")


def run(folder: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240)


def rows_below(folder: Path) -> int:
    return sum(len(read_metrics(path)) for path in record_folders(folder)) if folder.is_dir() else 0


def killed(folder: Path, arguments: Sequence[str], epochs: int, wait: float) -> None:
    """Start a run and kill its process `wait` seconds after `epochs` more epochs."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    until = rows_below(folder / "outputs") + epochs
    while rows_below(folder / "outputs") < until and process.poll() is None:
        time.sleep(0.02)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_multirun_of_four_is_four_runs(tmp_path: Path, tiny_overrides: list[str], wandb_server: WandbServer) -> None:
    sweep = ["-m", *tiny_overrides, *ONLINE, "model.dropout=0,0.2", "seed=0,1", "name=four", "optim.epochs=1",
             "optim.schedule.warmup_epochs=0"]  # fmt: skip
    completed = run(tmp_path, sweep)
    assert completed.returncode == 0, completed.stderr
    folders = [path for path in record_folders(tmp_path / "multirun" / "four") if path.name in wandb_server.runs]
    assert len(folders) == len(wandb_server.runs) == 4
    for folder in folders:
        remote_run = wandb_server.runs[folder.name]
        check(remote_run, folder)
        record = read_record(folder)
        assert (remote_run.group, remote_run.job_type, remote_run.display) == (
            "four",
            "base",
            f"{record.label} seed {record.seed}",
        )
        assert remote_run.settings["model"]["dropout"] == record.config["model"]["dropout"]
    wandb_server.state.calls.clear()
    assert main(["publish", str(tmp_path / "multirun")]) == 0
    assert not [name for name in wandb_server.state.calls if name.startswith(("Upsert", "Create"))]


@pytest.mark.parametrize(
    ("mode", "kills"),
    [(OFFLINE, 1), pytest.param(OFFLINE, 3, marks=pytest.mark.slow), pytest.param(ONLINE, 2, marks=pytest.mark.slow)],
    ids=["offline", "offline-3", "online-2"],
)
def test_a_run_that_was_killed_is_one_run(
    tmp_path: Path,
    tiny: Callable[..., DictConfig],
    tiny_overrides: list[str],
    wandb_server: WandbServer,
    mode: list[str],
    kills: int,
) -> None:
    more = [*mode, "optim.epochs=16", "tracking.media.augmented=true"]
    draw = random.Random(f"{mode} {time.time_ns() // 10**15}")  # other moments every eleven days
    for _ in range(kills):
        killed(tmp_path, [*tiny_overrides, *more], epochs=1, wait=draw.uniform(0, 0.2))
    (folder,) = (path for path in record_folders(tmp_path / "outputs"))
    assert app.run(tiny(*more), folder).status == "completed"
    assert main(["publish", str(tmp_path / "outputs")]) == 0
    (remote_run,) = wandb_server.runs.values()
    assert remote_run.name == folder.name
    check(remote_run, folder)
    assert [row["_step"] for row in remote_run.history if "media/augmented" in row] == [0]


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 1.2, 2.0])
def test_a_kill_at_any_moment_leaves_files_that_publish(
    tmp_path: Path, tiny_overrides: list[str], wandb_server: WandbServer, wait: float
) -> None:
    arguments = [*tiny_overrides, *OFFLINE, "optim.epochs=2000"]
    killed(tmp_path, arguments, epochs=1, wait=wait)
    main(["publish", str(tmp_path / "outputs")])
    (folder,) = (path for path in record_folders(tmp_path / "outputs"))
    remote_run = wandb_server.runs[folder.name]
    assert [row["epoch"] for row in remote_run.epochs] == [row["epoch"] for row in read_metrics(folder)]
    assert (remote_run.state, remote_run.summary["status"]) == ("failed", "running")


@pytest.fixture
def _no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NOBODY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.slow
@pytest.mark.usefixtures("_no_account")
def test_nobody_is_asked_anything_in_a_pipe(tmp_path: Path, tiny_overrides: list[str]) -> None:
    completed = run(tmp_path, [*tiny_overrides, "tracking.wandb.mode=auto"])
    assert completed.returncode == 0
    assert completed.stderr == ""  # nothing to say: no account is no trouble
    assert list((tmp_path / "outputs" / "wandb").glob("offline-run-*"))


@pytest.mark.usefixtures("_no_account")
def test_nobody_is_asked_anything_on_a_terminal(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("wandb")
    ours, theirs = pty.openpty()
    command = [*COMMAND, *tiny_overrides, "tracking.wandb.mode=online", "tracking.console.progress=auto"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = read_all(ours, process, seconds=120)
    assert process.wait() == 0
    assert "this run is logged offline" in " ".join(output.split())  # wrapped at the terminal's width
    assert "choice" not in output
    assert "API key:" not in output


def read_all(terminal: int, process: "subprocess.Popen[bytes]", seconds: float) -> str:
    """Return what a process writes to its terminal; kill it after `seconds`, in case it prompts."""
    output, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        try:
            output += os.read(terminal, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
    else:
        process.kill()
    return output.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["refuse", "hang", "error", "die"])
def test_a_run_is_at_most_half_a_minute_later_for_its_server(
    tmp_path: Path, tiny_overrides: list[str], wandb_server: WandbServer, fault: str
) -> None:
    """Whole commands with the default patience; publishing later uploads everything."""
    arguments = [*tiny_overrides, "optim.epochs=12", "tracking.media.augmented=true", "tracking.wandb.code=false"]
    begun = time.monotonic()
    assert run(tmp_path, [*arguments, "tracking.wandb.mode=offline"]).returncode == 0
    offline = time.monotonic() - begun
    {"refuse": wandb_server.die, "hang": wandb_server.hang}.get(fault, lambda: None)()
    if fault == "error":
        wandb_server.fail = dict.fromkeys(("graphql", "file_stream", "upload"), (500, 10**6))
    begun = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, *arguments, "tracking.wandb.mode=online", "hydra.run.dir=outputs/base/online", "rerun=true"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while fault == "die" and not rows_below(tmp_path / "outputs" / "base" / "online"):
        time.sleep(0.05)
    if fault == "die":
        wandb_server.die()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert time.monotonic() - begun < offline + 30
    assert len([line for line in errors.splitlines() if "wrnexp publish" in line]) == 1
    (reference,) = (path for path in record_folders(tmp_path / "outputs") if path.name != "online")
    online = tmp_path / "outputs" / "base" / "online"
    losses = [[row["train_loss"] for row in read_metrics(path)] for path in (reference, online)]
    assert losses[0] == losses[1]
    assert read_record(online).metrics == read_record(reference).metrics
    wandb_server.recover()
    assert main(["publish", str(online)]) == 0
    (remote_run,) = wandb_server.runs.values()
    check(remote_run, online)


def test_a_run_that_was_stopped_and_resumed_keeps_no_error(
    tmp_path: Path, tiny: Callable[..., DictConfig], wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell_to_end(journal: Journal, epoch: int, step: int) -> None:
        if (epoch, step) == (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "outputs" / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "on_step", tell_to_end)
        with pytest.raises(Stopped) as stopped:
            app.run(tiny(*ONLINE), folder)
    assert stopped.value.code == 143
    (remote_run,) = wandb_server.runs.values()
    assert remote_run.state == "failed"
    assert remote_run.summary["error"].startswith("Stopped: terminated")
    app.run(tiny(*ONLINE), folder)
    (remote_run,) = wandb_server.runs.values()
    check(remote_run, folder)
