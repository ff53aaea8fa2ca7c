"""How long a run will take: from runs on record, and from nothing else."""

import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrnexp.config import identity
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.record import Cost, Record, read_metrics, read_record, write_metrics, write_record
from wrnexp.sweeps.estimates import Estimate, Measured, cost_settings

RESULTS = Path(__file__).parents[2] / "results"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def config(epochs: int = 4, **changes: Any) -> dict[str, Any]:
    """Return a config with the keys that matter here; `group__key=value` changes one."""
    values: dict[str, Any] = {
        "seed": 0,
        "model": {"depth": 10, "width": 1, "dropout": 0.0, "stem_dropout": 0.0},
        "augment": {"policy": "none"},
        "loader": {"batch_size": 128, "workers": 0},
        "data": {"name": "cifar100", "root": None, "train_limit": None, "val_size": 0},
        "trainer": {"device": "auto", "test_every": 1, "memory_budget": 1.0},
        "optim": {"epochs": epochs, "lr": 0.1, "accumulate": 1, "label_smoothing": 0.0, "weight_decay": 5e-4},
    }
    for path, value in changes.items():
        *group, key = path.split("__")
        (values[group[0]] if group else values)[key] = value
    return values


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run's record and epochs as runs write them, and returns its folder."""

    def run(
        values: dict[str, Any],
        seconds: Sequence[float],
        beside: float | None = 2.0,
        name: str | None = None,
        cost: dict[str, float] | None = None,
        **provenance: Any,
    ) -> Path:
        folder = tmp_path / "runs" / (name or identity.run_id(values))
        ended = BEGIN + timedelta(seconds=sum(seconds) + (beside or 0.0))
        where = {"hostname": platform.node(), "device": "AMD EPYC, 2 threads", "device_type": "cpu"}
        record = Record(
            status="interrupted" if beside is None else "completed",
            run_id=identity.run_id(values),
            arm_id=identity.arm_id(values),
            label="base",
            seed=values["seed"],
            config=values,
            cost=Cost(**cost or {}),
            provenance=where | {"started": BEGIN.isoformat(), "finished": ended.isoformat()} | provenance,
        )
        write_record(folder, record)
        write_metrics(folder, [{"epoch": epoch, "seconds": value} for epoch, value in enumerate(seconds, 1)])
        return folder

    return run


def estimate(tmp_path: Path, values: dict[str, Any]) -> Estimate | None:
    return Measured.read([tmp_path]).run_seconds(values)


def test_a_run_of_the_same_arm_takes_as_long(tmp_path: Path, write: Callable[..., Path]) -> None:
    for seed, epoch in enumerate((10.0, 14.0, 11.0)):
        write(config(seed=seed), [epoch + 5, epoch, epoch, epoch], beside=8.0)
    found = estimate(tmp_path, config(seed=7))
    assert found == Estimate(
        seconds=5 + 4 * (11 + 2),
        epochs=4,
        seconds_per_epoch=11.0,
        start_seconds=5.0,
        gpus=0,
        n=3,
        basis="median of 3 runs of the same arm on AMD EPYC, 2 threads",
    )
    assert found.gpu_seconds is None


def test_damaged_epochs_give_no_time(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(config(), [10.0] * 4)
    record, path = read_record(folder), folder / "metrics.jsonl"
    record.files = {path.name: bytes_digest(path.read_bytes())}
    write_record(folder, record)
    assert estimate(tmp_path, config()) is not None
    path.write_bytes(path.read_bytes().replace(b"10.0", b"18.0"))
    assert estimate(tmp_path, config()) is None


def test_an_arm_of_another_rate_is_timed_by_epochs(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(4), [10.0] * 4, beside=8.0)
    found = estimate(tmp_path, config(40, optim__lr=0.8, model__dropout=0.3, optim__label_smoothing=0.1))
    assert found is not None
    assert found.seconds == pytest.approx(480)
    assert found.basis == (
        "1 run with the same net, data and loading on AMD EPYC, 2 threads, scaled from 4 epochs to 40"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model__depth": 16},
        {"model__width": 2},
        {"augment__policy": "randaugment"},
        {"loader__batch_size": 256},
        {"data__train_limit": 5000},
        {"data__name": "cifar10"},
        {"data__val_size": 5000},
        {"trainer__test_every": 0},
        {"trainer__device": "cuda"},
        {"optim__accumulate": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_net_or_other_data_are_not_timed(
    tmp_path: Path, write: Callable[..., Path], change: dict[str, Any]
) -> None:
    write(config(), [10.0] * 4)
    assert estimate(tmp_path, config(**change)) is None


def test_the_same_arm_with_other_workers_is_taken_and_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(), [10.0] * 4)
    found = estimate(tmp_path, config(loader__workers=4))
    assert found is not None
    assert "another loader" in found.basis
    write(config(seed=1, loader__workers=4, optim__lr=0.2), [20.0] * 4)
    nearer = estimate(tmp_path, config(loader__workers=4))
    assert nearer is not None
    assert nearer.seconds_per_epoch == 20.0


def test_this_machine_comes_before_others_and_others_are_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(), [1.0] * 4, hostname="gpu7", device="NVIDIA H200", device_type="cuda")
    found = estimate(tmp_path, config())
    assert found is not None
    assert found.basis == "1 run of the same arm on another machine, gpu7 (NVIDIA H200)"
    assert found.gpu_seconds == pytest.approx(4 + 2)
    write(config(seed=1, optim__lr=0.2), [10.0] * 4)
    here = estimate(tmp_path, config())
    assert here is not None
    assert here.seconds_per_epoch == 10.0
    assert here.gpus == 0


def test_of_several_devices_the_last_used_counts(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(), [10.0] * 4)
    later = (BEGIN + timedelta(days=1)).isoformat()
    write(config(seed=1), [1.0] * 4, device="NVIDIA H200", device_type="cuda", started=later)
    found = estimate(tmp_path, config())
    assert found is not None
    assert (found.n, found.seconds_per_epoch, found.gpus) == (1, 1.0, 1)


def test_a_run_over_two_gpus_occupies_two(tmp_path: Path, write: Callable[..., Path]) -> None:
    two = config(trainer__devices=2)
    write(two, [1.0] * 4, device="NVIDIA H200", device_type="cuda")
    found = estimate(tmp_path, two)
    assert found is not None
    assert found.gpu_seconds == pytest.approx(2 * found.seconds)


def test_a_run_that_stopped_counts_by_its_epochs(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(), [12.0, 10.0], beside=None)
    found = estimate(tmp_path, config(seed=1))
    assert found is not None
    assert found.seconds == pytest.approx(2 + 40)
    assert found.basis.endswith("scaled from 2 epochs to 4; without evaluation")


def test_a_night_between_two_halves_is_not_evaluation(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(), [10.0] * 4, beside=8.0)
    write(config(seed=1), [10.0] * 4, beside=40_000.0)
    found = estimate(tmp_path, config(seed=2))
    assert found is not None
    assert found.seconds == pytest.approx(48)


def test_what_is_left_of_a_run(tmp_path: Path, write: Callable[..., Path]) -> None:
    complete = write(config(), [15.0, 10.0, 10.0, 10.0], beside=8.0)
    stopped = write(config(seed=1), [15.0], beside=None, name="stopped")
    measured = Measured.read([tmp_path])
    assert measured.remaining_seconds(config(), complete) == 0
    assert measured.remaining_seconds(config(seed=2), tmp_path / "new") == pytest.approx(5 + 4 * 12)
    left = Measured.read([complete]).remaining_seconds(config(seed=1), stopped)
    assert left == pytest.approx(5 + 3 * 12)
    assert measured.remaining_seconds(config(model__depth=16), tmp_path / "new") is None
    assert measured.remaining_seconds(config(seed=2), complete) == pytest.approx(5 + 4 * 12)  # another run's folder
    (stopped / "metrics.jsonl").write_bytes(b"\xff\n")
    assert measured.remaining_seconds(config(seed=1), stopped) == pytest.approx(5 + 4 * 12)


def test_what_cannot_be_read_is_passed_over(tmp_path: Path, write: Callable[..., Path]) -> None:
    good = write(config(), [10.0] * 4)
    for name, text in {"cut": '{"run_id": "a', "list": "[]", "other": "{}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(text)
    empty = write(config(seed=1), [], name="no_epoch")
    broken = write(config(seed=2), [1.0], name="broken")
    (broken / "metrics.jsonl").write_text('{"epoch": 1}\n')
    strange = write(config(seed=3), [1.0], name="strange")
    (strange / "metrics.jsonl").write_text("3\n")
    hidden = write(config(seed=4), [1.0], name=".hidden")
    assert all(folder.is_dir() for folder in (empty, broken, strange, hidden))
    measured = Measured.read([tmp_path, good, tmp_path / "nowhere"])
    assert len(measured.runs) == 1  # the good one once


def test_the_records_of_this_repository_are_timed_as_they_were() -> None:
    folders = sorted((RESULTS / "cpu" / "wrn_10_1").glob("*/record.json"))
    values = read_record(folders[0].parent).config | {"seed": 9}
    found = Measured.read([RESULTS]).run_seconds(values)
    assert found is not None
    assert (found.n, found.epochs) == (3, 8)
    measured = []
    for path in folders:
        times = read_record(path.parent).provenance
        span = datetime.fromisoformat(times["finished"]) - datetime.fromisoformat(times["started"])
        measured.append(span.total_seconds())
        assert sum(row["seconds"] for row in read_metrics(path.parent)) < span.total_seconds()
    assert min(measured) * 0.95 < found.seconds < max(measured) * 1.05


@given(first=st.floats(0.1, 100), epoch=st.floats(0.1, 100), beside=st.floats(0, 100), done=st.integers(0, 12))
def test_what_is_left_falls_to_nothing(first: float, epoch: float, beside: float, done: int) -> None:
    whole = Estimate(first + 10 * (epoch + beside), 10, epoch, first, 0, 1, "")
    assert whole.after(0) == pytest.approx(whole.seconds)
    assert whole.after(done + 1) <= whole.after(done)
    assert whole.after(10) == 0.0


def test_settings_of_cost_leave_the_root_of_known_data_out() -> None:
    assert cost_settings(config(data__root="/a")) == cost_settings(config(data__root="/b", seed=3))
    a, b = (cost_settings(config(data__name="folder", data__root=root)) for root in ("/a", "/b"))
    assert a != b
    assert cost_settings(config(trainer__device="cuda:1")) == cost_settings(config(trainer__device="cuda"))


def test_a_limit_of_time_is_no_setting_of_cost() -> None:
    assert cost_settings(config(trainer__max_seconds=60)) == cost_settings(config())


def test_a_run_that_was_resumed_says_nothing_of_what_was_not_training(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    starts = {"start_seconds": 500.0, "compile_seconds": 100.0}  # of all its processes
    write(config(), [10.0] * 4, beside=40_000.0, cost=starts, resumed=BEGIN.isoformat())
    found = estimate(tmp_path, config(seed=2))
    assert found is not None
    assert found.seconds == pytest.approx(40)


def test_start_and_compilation_that_were_measured_count_once_per_run(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    write(config(), [10.0] * 4, beside=18.0, cost={"start_seconds": 4.0, "compile_seconds": 6.0})
    estimated = estimate(tmp_path, config(epochs=8, seed=2))
    assert estimated is not None
    assert (estimated.start_seconds, estimated.seconds) == (10.0, 10 + 8 * (10 + 2))


def test_the_runs_of_this_machine_alone(tmp_path: Path, write: Callable[..., Path]) -> None:
    write(config(), [1.0] * 4, hostname="gpu7")
    write(config(seed=1), [10.0] * 4)
    measured = Measured.read([tmp_path])
    assert [run.epochs for run in measured.here().runs] == [(10.0,) * 4]
    assert len(measured.runs) == 2
