import json
import math
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from wrnexp.runs.record import (
    SCHEMA_VERSION,
    CorruptionFigures,
    Cost,
    DataInfo,
    LaterEvaluation,
    Record,
    RecordError,
    add_evaluation,
    find_record,
    read_evaluations,
    read_metrics,
    read_record,
    record_folders,
    write_atomic,
    write_json,
    write_metrics,
    write_record,
)

same_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
finite = st.floats(allow_nan=False, allow_infinity=False)


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {"run_id": "0123456789", "arm_id": "9876543210", "label": "base", "seed": 1}
    return Record(**fields | changes)


@same_folder
@given(
    status=st.sampled_from(["running", "completed", "failed", "interrupted"]),
    label=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    metrics=st.dictionaries(st.text(alphabet="abc_", min_size=1), st.none() | finite, max_size=4),
    seconds=finite.filter(lambda value: value >= 0),
    overrides=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=3),
)
def test_what_is_written_is_read(
    tmp_path: Path, status: Any, label: str, metrics: dict[str, float | None], seconds: float, overrides: list[str]
) -> None:
    data = DataInfo(name="shapes", digest={"train": "ab", "test": "cd"}, train=90, val=10, test=20)
    cost = Cost(parameters=83_700, train_seconds=seconds)
    written = record(status=status, label=label, metrics=metrics, cost=cost, data=data, overrides=overrides)
    write_record(tmp_path, written)
    assert read_record(tmp_path) == written


def test_the_file_has_the_keys_of_the_interface(tmp_path: Path) -> None:
    write_record(tmp_path, record())
    assert list(json.loads((tmp_path / "record.json").read_text())) == [
        *(
            "schema_version",
            "status",
            "error",
            "divergence",
            "recoveries",
            "run_id",
            "arm_id",
            "label",
            "sweep",
            "seed",
            "overrides",
            "config",
        ),
        *("metrics", "cost", "time_to", "test_looks", "data", "files", "provenance"),
    ]
    raw = json.loads((tmp_path / "record.json").read_text())
    assert raw["schema_version"] == 1
    assert raw["status"] == "running"
    assert raw["time_to"] == dict.fromkeys(["0.50", "0.60", "0.70", "0.75", "0.80"])
    assert list(raw["cost"]) == [
        *("parameters", "macs_per_image", "steps", "images", "start_seconds", "compile_seconds", "train_seconds"),
        *("evaluation_seconds", "checkpoint_seconds", "images_per_second"),
        *("peak_memory_bytes", "flops_utilization", "data_wait", "verdict"),
    ]


def test_a_record_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path, record(config={"model": {"depth": 16}}))
    path = tmp_path / "record.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 3):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordError, match="not valid JSON"):
            read_record(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "schema version 2 is newer than this program's 1"),
        ({"status": "fine"}, "status: "),
        ({"metrics": {"test_accuracy": math.nan}}, r"metrics\.test_accuracy: "),
        ({"cost": {"train_seconds": math.inf}}, r"cost\.train_seconds: "),
        ({"seed": "zero"}, "seed: "),
        ({"metrics": {"test_accuracy": True}}, r"metrics\.test_accuracy: Input should be a valid number"),
        ({"metrics": {"test_accuracy": "0.7"}}, r"metrics\.test_accuracy: Input should be a valid number"),
        ({"test_looks": "1"}, "test_looks: "),
        ({"cost": {"train_seconds": -1}}, r"cost\.train_seconds: "),
        ({"data": {"name": "shapes"}}, r"data\.digest: "),
    ],
)
def test_an_impossible_record_says_where(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    raw = record().model_dump(mode="json") | change
    (tmp_path / "record.json").write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=message) as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff\xfe\x00", b"null", b"{", b"[" * 100_000, b"\0" * 4096])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(RecordError):
        read_record(tmp_path)


def link_to_device(path: Path, device: str) -> None:
    path.symlink_to(device)


DEVICES = [partial(link_to_device, device=device) for device in ("/dev/zero", "/dev/null")]  # endless, empty


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, *DEVICES])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in ("record.json", "metrics.jsonl", "evaluations.json"):
        make(tmp_path / name)
    with pytest.raises(RecordError, match="it cannot be read"):
        read_record(tmp_path)
    assert find_record(tmp_path) is None
    assert read_metrics(tmp_path) == []
    with pytest.raises(RecordError, match="it cannot be read"):
        read_evaluations(tmp_path)
    assert list(record_folders(tmp_path)) == [tmp_path]


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path)


def test_fields_of_a_later_program_are_kept(tmp_path: Path) -> None:
    raw = record().model_dump(mode="json") | {"note": "from later"}
    raw["cost"]["joules"] = 5
    (tmp_path / "record.json").write_text(json.dumps(raw))
    write_record(tmp_path, read_record(tmp_path))
    again = json.loads((tmp_path / "record.json").read_text())
    assert (again["note"], again["cost"]["joules"]) == ("from later", 5)


def test_assignments_are_checked() -> None:
    running = record()
    with pytest.raises(ValidationError):
        running.status = "done"  # type: ignore[assignment]
    with pytest.raises(ValidationError):
        running.cost.train_seconds = -1.0


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": math.nan, "b": [math.inf, 1.5, (-math.inf,)], "c": {"d": 2}})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [None, 1.5, [None]], "c": {"d": 2}}


rows = st.lists(
    st.builds(
        lambda epoch, figures: {"epoch": epoch, **figures},
        st.integers(1, 10**6),
        st.dictionaries(st.sampled_from(["lr", "test_loss"]), st.none() | finite),
    ),
    max_size=5,
)


@same_folder
@given(rows)
def test_metrics_are_read_as_written(tmp_path: Path, rows: list[dict[str, float | None]]) -> None:
    assert write_metrics(tmp_path, rows) == (tmp_path / "metrics.jsonl").read_bytes()
    assert read_metrics(tmp_path) == rows
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == len(rows)


def test_metrics_cut_short_end_at_the_last_whole_line(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "lr": 0.1, "val_loss": None} for epoch in range(3)]
    write_metrics(tmp_path, rows)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        lines = whole[: length + 1].count(b"\n") if whole[length : length + 1] == b"\n" else whole[:length].count(b"\n")
        assert read_metrics(tmp_path) == rows[:lines]


@pytest.mark.parametrize("line", [b"\xff", b"3", b"[]", b"{}", b'{"epoch": NaN}', b'{"epoch": true}', b"[" * 9999])
def test_metrics_end_at_the_first_damaged_line(tmp_path: Path, line: bytes) -> None:
    rows = [{"epoch": epoch} for epoch in range(1, 4)]
    first, *others = write_metrics(tmp_path, rows).splitlines()
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([first, line, *others]))
    assert read_metrics(tmp_path) == rows[:1]


def test_no_metrics(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "x.json", "not bytes")  # type: ignore[arg-type]
    assert (tmp_path / "x.json").read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "x.json"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_folders_are_made_and_the_umask_says_who_may_read(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "a" / "b" / "x", b"data")
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b" / "x").read_bytes() == b"data"
    assert stat.S_IMODE((tmp_path / "a" / "b" / "x").stat().st_mode) == mode


WRITER = """
import sys
from pathlib import Path
from wrnexp.runs.record import Record, write_metrics, write_record
folder, rows, size = Path(sys.argv[1]), [], 0
while True:
    size += 1
    rows.append({"epoch": size, "train_loss": 1 / size})
    write_record(folder, Record(run_id="r", arm_id="a", label="x" * size * 997, seed=size))
    write_metrics(folder, rows)
    print(size, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("delay", [0.0, 0.013, 0.05])
def test_a_killed_writer_leaves_whole_files(tmp_path: Path, delay: float) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(30):
            writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    found = read_record(tmp_path)
    assert len(found.label) == found.seed * 997
    assert found.seed >= 30
    lines = read_metrics(tmp_path)
    assert [row["epoch"] for row in lines] == list(range(1, len(lines) + 1))
    assert found.seed - 1 <= len(lines) <= found.seed


def looked(**changes: Any) -> LaterEvaluation:
    return LaterEvaluation(**{"metrics": {"test_accuracy": 0.5, "test_nll": None}, "equal_to_record": True} | changes)


def test_later_evaluations_are_added(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == []
    figures = CorruptionFigures(
        name="CIFAR-100-C",
        images=10_000,
        accuracy={"fog": [0.5, 0.4, 0.3, 0.2, 0.1]},
        mean_error=None,
        mean_error_all=0.7,
    )
    written = [looked(provenance={"device": "cpu"}), looked(mirrored={"test_accuracy": 0.6}, corruptions=figures)]
    for one in written:
        add_evaluation(tmp_path, "0123456789", one)
    assert read_evaluations(tmp_path) == written
    raw = json.loads((tmp_path / "evaluations.json").read_text())
    assert (raw["schema_version"], raw["run_id"]) == (SCHEMA_VERSION, "0123456789")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ('{"schema_version": 99, "run_id": "a"}', "schema version 99 is newer"),
        ('{"run_id": "a", "evaluations": [{}]}', "evaluations.0.metrics: Field required"),
    ],
)
def test_evaluations_that_cannot_be_used_are_left_as_they_are(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "evaluations.json").write_text(text)
    with pytest.raises(RecordError, match=words):
        add_evaluation(tmp_path, "0123456789", looked())
    assert (tmp_path / "evaluations.json").read_text() == text


@pytest.mark.parametrize("name", ["file/run", "x" * 256])
def test_a_folder_that_cannot_be_has_no_record(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert find_record(tmp_path / name) is None
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / name)
