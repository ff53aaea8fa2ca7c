"""run.py as its users start it: a process of its own, with its exit codes, folders and messages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wrnexp.runs.record import read_metrics, read_record

ROOT = Path(__file__).parents[1]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "run.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
        timeout=240,
    )


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--help"], ["experiment=light", "--cfg", "job", "--resolve"]])
def test_looking_at_a_config_is_quick_and_writes_nothing(tmp_path: Path, flags: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "run.py"), *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "hydra" in imported
    assert not imported & {"torch", "torchvision", "wandb", "matplotlib", "scipy", "pydantic"}
    assert "depth: " in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.droput=0.1"], ["model.droput=0.1", "did you mean model.dropout?"]),
        (["+model.foo=1"], ["model.foo=1", "there is no such key"]),
        (["model.dropout=1.5"], ["model.dropout=1.5", "0 <= x < 1"]),
        (["model.depth=17"], ["model.depth=17", "10, 16, 22"]),
        (["optim.epochs=ten"], ["optim.epochs=ten", "whole number"]),
        (["model=ligth"], ["model/ligth", "light"]),
        (
            ["model.droput=0", "optim.lr=-1", "modle=light"],
            ["3 errors", "model.dropout?", "optim.lr=-1", "modle=light"],
        ),
        (
            ["optim.schedule._target_=nowhere.Nope", "data=shapes", "data.train_limit=512"],
            ["optim.schedule._target_=nowhere.Nope cannot be imported", "No module named 'nowhere'"],
        ),
        (["data=folder"], ["data.root"]),
        (["-m", "model.droput=0,1"], ["model.droput", "model.dropout?"]),
        (["experiment=null"], ["must be a string"]),
        (["-m", "--cfg", "job"], ["--cfg"]),
        (["data=shapes", f"label={'x' * 256}"], ["label=xxx", "(256 characters)", "up to 200 printable characters"]),
        (["data=shapes", f"hydra.run.dir=out/{'x' * 256}"], ["out/xxx", "is 256 bytes long, 255 are allowed"]),
        (["data=shapes", "hydra.run.dir=/proc/version/run"], ["/proc/version", "Not a directory", "hydra.run.dir"]),
    ],
    ids=lambda value: " ".join(value)[:80] if value[0][0] in "+-" or "=" in value[0] else "",
)
def test_a_mistake_ends_before_training_with_one_message(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_a_run_its_repetition_and_a_rerun(tmp_path: Path, tiny_overrides: list[str]) -> None:
    chosen = [*tiny_overrides, "model.dropout=0.125"]
    first = run(tmp_path, *chosen, "tracking.console.progress=auto")
    assert first.returncode == 0, first.stderr
    (folder,) = (tmp_path / "outputs" / "base").iterdir()
    record = read_record(folder)
    assert (record.status, record.run_id, record.label) == ("completed", folder.name, "base")
    assert record.overrides == [*chosen, "tracking.console.progress=auto"]
    assert record.config["model"]["dropout"] == 0.125
    assert (folder / ".hydra" / "overrides.yaml").exists()
    assert "epoch 2/2" in first.stdout
    assert "\x1b" not in first.stdout  # a pipe gets plain lines
    second = run(tmp_path, *chosen)
    assert second.returncode == 0
    assert "complete already" in second.stdout
    again = run(tmp_path, *chosen, "rerun=true")
    assert again.returncode == 0, again.stderr
    assert sorted(path.name[:10] for path in (tmp_path / "outputs" / "base").iterdir()) == [folder.name] * 2
    other = next(path for path in (tmp_path / "outputs" / "base").iterdir() if path != folder)
    assert read_record(other).metrics == record.metrics


def test_a_process_that_a_notebook_started_draws_its_curves(tmp_path: Path, tiny_overrides: list[str]) -> None:
    short = [*tiny_overrides, "optim.epochs=1", "optim.schedule.warmup_epochs=0", "label=дропаут 日本 😀"]
    done = run(tmp_path, *short, MPLBACKEND="module://matplotlib_inline.backend_inline")
    assert (done.returncode, done.stderr) == (0, "")  # no warning of a missing glyph either
    (curves,) = (tmp_path / "outputs").glob("дропаут-日本-*/*/curves.png")
    assert read_record(curves.parent).label == "дропаут 日本 😀"


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are bytes on POSIX alone")
@pytest.mark.parametrize(
    ("label", "environment", "words"),
    [
        (b"label=caf\xe9", {}, r"label=caf\xe9 is not valid UTF-8"),
        (
            "label='日本'".encode(),
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            "the encoding of this locale is ascii",
        ),
    ],
    ids=["Latin-1", "ASCII locale"],
)
def test_an_argument_that_is_not_decoded_ends_before_training(
    tmp_path: Path, label: bytes, environment: dict[str, str], words: str
) -> None:
    command: list[str | bytes] = [sys.executable, str(ROOT / "run.py"), "data=shapes", label]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=os.environ | environment
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: config: label=")
    assert words in line
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_names_its_arms_and_fills_gaps(tmp_path: Path, tiny_overrides: list[str]) -> None:
    first = run(tmp_path, "-m", *tiny_overrides, "model.dropout=0,0.2", "seed=0")
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "multirun" / "dropout"
    records = [read_record(path.parent) for path in folder.glob("*/record.json")]
    assert {record.label for record in records} == {"base model.dropout=0", "base model.dropout=0.2"}
    assert {record.sweep for record in records} == {"dropout"}
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*/record.json")}
    second = run(tmp_path, "-m", *tiny_overrides, "model.dropout=0,0.2", "seed=0,1")
    assert second.returncode == 0, second.stderr
    assert len(list(folder.glob("*/record.json"))) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_sweep_over_a_group_with_a_slash_in_a_folder_of_ones_own(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, "optim.epochs=1", "hydra.sweep.dir=here/2024"]
    kept = [one for one in arguments if not one.startswith("optim.schedule.")]
    done = run(tmp_path, "-m", *kept, "optim/schedule=cosine,steps")
    assert done.returncode == 0, done.stderr
    records = [read_record(path.parent) for path in (tmp_path / "here" / "2024").glob("*/record.json")]
    assert {record.label for record in records} == {"base optim/schedule=cosine", "base optim/schedule=steps"}
    assert {record.sweep for record in records} == {"2024"}


def test_the_light_preset_at_a_small_scale(tmp_path: Path) -> None:
    small = ["model.width=1", "model.depth=10", "optim.epochs=2", "loader.batch_size=32", "loader.workers=2"]
    less = ["data=shapes", "data.train_limit=144", "data.test_limit=48", "tracking.wandb.mode=disabled"]
    done = run(tmp_path, "experiment=light", *small, *less)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "outputs" / "light").glob("*/record.json")
    record = read_record(path.parent)
    assert record.cost.steps == 2 * (144 // 64)  # whole steps of 2 x 32 only
    assert record.cost.images == 2 * 2 * 64


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_terminated_run_says_so_and_goes_on(tmp_path: Path, tiny_overrides: list[str]) -> None:
    arguments = [*tiny_overrides, "optim.epochs=20"]
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not (found := list(tmp_path.rglob("metrics.jsonl"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 143
    assert "the same command resumes" in errors
    folder = found[0].parent
    assert read_record(folder).status == "interrupted"
    epochs = len(read_metrics(folder))
    assert 1 <= epochs < 20
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    rows = read_metrics(folder)
    assert [row["epoch"] for row in rows] == list(range(1, 21))
    assert read_record(folder).status == "completed"


def test_a_failing_job_does_not_take_others_with_it(tmp_path: Path, tiny_overrides: list[str]) -> None:
    done = run(tmp_path, "-m", *tiny_overrides, "model.dropout=1.5,0.1", "name=mixed")
    assert done.returncode == 2
    assert "model.dropout=1.5" in done.stderr
    records = [read_record(path.parent) for path in (tmp_path / "multirun" / "mixed").glob("*/record.json")]
    assert sorted(record.status for record in records) == ["completed", "failed"]
