"""Answers read from predictions.npz: what is used, what is not and why, and calibration against plain loops."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.damage import broken, flipped
from tests.report.page.made import answers
from wrnexp.process.terminal import Terminal
from wrnexp.report import predictions as reading
from wrnexp.report.arms import find, group
from wrnexp.report.build import build
from wrnexp.report.collect import comparable, find_runs
from wrnexp.report.measures import Run
from wrnexp.report.tables import Report
from wrnexp.report.text.console import print_report
from wrnexp.runs.digests import file_digest
from wrnexp.runs.record import read_record

WriteRun = Callable[..., Path]
LABELS = np.arange(300) % 6


def _write(write_run: WriteRun, label: str, seed: int, val: bool = False, **stored: Any) -> Path:
    chance = np.random.default_rng([seed, len(label)])
    logits = answers(chance, LABELS, 6, 1.5)
    accuracy = float((logits.argmax(1) == LABELS).mean())
    folder = write_run(label, seed, accuracy)
    kept = {"logits": logits, "labels": LABELS}
    if val:
        kept |= {"val_logits": answers(chance, LABELS[:120], 6, 1.5), "val_labels": LABELS[:120]}
    np.savez_compressed(folder / "predictions.npz", **(kept | stored))
    return folder


def _report(outputs: Path, tmp_path: Path) -> tuple[Report, Any]:
    report = build([outputs], tmp_path / "report")
    return report, json.loads((tmp_path / "report" / "report.json").read_text())


def _loss_and_error(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> tuple[float, float]:
    """Return NLL and ECE, one image at a time."""
    losses, bins = [], [[0.0, 0.0] for _ in range(15)]
    for row, label in zip(logits.astype(float).tolist(), labels.tolist(), strict=True):
        powers = [math.exp((value - max(row)) / temperature) for value in row]
        shares = [power / sum(powers) for power in powers]
        losses.append(-math.log(shares[label]))
        place = max(0, math.ceil(15 * max(shares)) - 1)
        bins[place][0] += max(shares)
        bins[place][1] += row.index(max(row)) == label
    return sum(losses) / len(losses), sum(abs(right - sure) for sure, right in bins) / len(losses)


def test_calibration_before_and_after_is_that_of_a_plain_loop(
    write_run: WriteRun, outputs: Path, tmp_path: Path
) -> None:
    folders = [_write(write_run, "base", seed, val=True) for seed in range(2)]
    _, found = _report(outputs, tmp_path)
    (row,) = found["calibration"]
    before, after, temperatures = [], [], []
    for folder in folders:
        stored = np.load(folder / "predictions.npz")
        tried = np.linspace(0.3, 6, 2000)
        losses = [_fast_loss(stored["val_logits"], stored["val_labels"], at) for at in tried]
        temperatures.append(float(tried[int(np.argmin(losses))]))
        before.append(_loss_and_error(stored["logits"], stored["labels"]))
        after.append(_loss_and_error(stored["logits"], stored["labels"], temperatures[-1]))
    assert [row["nll"], row["ece"]] == pytest.approx(np.mean(before, 0), abs=1e-9)
    assert row["temperature"] == pytest.approx(np.mean(temperatures), abs=0.003)
    assert row["nll_after"] == pytest.approx(np.mean(after, 0)[0], abs=1e-4)
    assert row["nll_after"] < row["nll"]  # the made logits are twice too large


def _fast_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    scaled = logits.astype(float) / temperature
    return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(labels)), labels]).mean())


def test_without_validation_logits_there_is_no_temperature(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    _write(write_run, "base", 0)
    _write(write_run, "light", 0, val=True)
    _, found = _report(outputs, tmp_path)
    rows = {row["label"]: row for row in found["calibration"]}
    assert [rows["base"][key] for key in ("temperature", "nll_after", "ece_after")] == [None, None, None]
    assert None not in rows["light"].values()
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Temperature scaling skipped for base: predictions.npz holds no validation logits" in page


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"labels": np.roll(LABELS, 1)}, "the test labels are not those of the other runs"),
        ({"labels": LABELS[:-1]}, "logits and labels in predictions.npz are not of one shape"),
        ({"labels": LABELS + 1}, "labels in predictions.npz name classes that there are not"),
        ({"logits": np.full((300, 6), np.nan, np.float16)}, "logits in predictions.npz are not all finite"),
        ({"logits": np.zeros((300, 6), np.float16)}, "the predictions do not give the accuracy of the record"),
        ({"logits": np.array([{}], object)}, "predictions.npz cannot be read"),
    ],
)
def test_answers_that_say_nothing_are_left_out_with_a_reason(
    write_run: WriteRun, outputs: Path, tmp_path: Path, stored: dict[str, Any], reason: str
) -> None:
    pytest.importorskip("vl_convert")
    _write(write_run, "base", 0)
    _write(write_run, "light", 0, **stored)
    report, found = _report(outputs, tmp_path)
    assert report.answers is not None
    assert report.answers.scope == [f"Not used: 1 run, {reason}."]
    assert [row["label"] for row in found["calibration"]] == ["base"]
    assert found["per_image"] == []
    assert f"Not used: 1 run, {reason}." in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no zip at all"])
def test_a_damaged_file_is_left_out(write_run: WriteRun, outputs: Path, tmp_path: Path, content: bytes) -> None:
    folder = _write(write_run, "base", 0)
    (folder / "predictions.npz").write_bytes(content)
    report, _ = _report(outputs, tmp_path)
    assert report.answers is not None
    assert report.answers.scope == ["Not used: 1 run, predictions.npz cannot be read."]


def test_a_file_made_to_fill_the_memory_is_not_opened(write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _write(write_run, "base", 0, more=np.zeros(1_000_000, np.uint8))
    run = Run(folder, "base", read_record(folder))
    assert "more" in reading._stored(run)
    monkeypatch.setattr(reading, "LARGE", 100_000)
    with pytest.raises(reading._UnusableError, match=r"would open to 1,0\d\d,\d{3} bytes"):
        reading._stored(run)


def _noticed(run: Run, damage: Iterable[bytes]) -> int:
    """Count the copies of the predictions that are not used because they are damaged."""
    count = 0
    for data in damage:
        (run.folder / "predictions.npz").write_bytes(data)
        (text,) = reading.predictions(group([run]), group([run])[0]).scope or [""]
        count += text == "Not used: 1 run, predictions.npz is damaged: its content is not what the run wrote."
    return count


@pytest.fixture
def recorded(write_run: WriteRun) -> Run:
    """A run whose record has the digest of its predictions."""
    folder = _write(write_run, "base", 0)
    record = read_record(folder)
    record.files = {"predictions.npz": file_digest(folder / "predictions.npz")}
    return Run(folder, "base", record)


def test_a_report_names_the_runs_with_damaged_predictions(
    write_run: WriteRun, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        _write(write_run, "base", seed)
    damaged = _write(write_run, "base", 2)
    (damaged / "predictions.npz").write_bytes(b"")
    (_write(write_run, "base", 3) / "predictions.npz").unlink()  # deleted to save room
    report, _ = _report(outputs, tmp_path)
    print_report(report, Terminal(soft_wrap=True))
    sentence = f"{damaged.relative_to(tmp_path)}: predictions.npz cannot be read. Comparisons by image and calibration"
    for text in (capsys.readouterr().out, (tmp_path / "report" / "report.md").read_text().replace("\\", "")):
        assert text.count(sentence) == 1
        assert text.count("writes the file from the checkpoint") == 1
    assert report.answers is not None
    assert [answers.seed for answers in report.answers.arms["base"]] == [0, 1]


def test_damaged_predictions_are_noticed(recorded: Run) -> None:
    data = (recorded.folder / "predictions.npz").read_bytes()
    assert _noticed(recorded, [data]) == 0
    assert _noticed(recorded, flipped(data, 25, seed=0, header=64)) == 25
    damages = [damage for _, damage in broken(data, seed=1)]
    assert _noticed(recorded, damages) == len(damages)


@pytest.mark.slow
def test_of_250_flipped_bits_in_predictions_all_are_noticed(recorded: Run) -> None:
    count = _noticed(recorded, flipped((recorded.folder / "predictions.npz").read_bytes(), 250, seed=2, header=64))
    print(f"predictions.npz: {count} of 250 flipped bits noticed")
    assert count == 250


def test_damaged_predictions_without_a_digest_end_no_report(recorded: Run) -> None:
    data = (recorded.folder / "predictions.npz").read_bytes()
    recorded.record.files = {}
    headers = [data[:6] + b"\x01" + data[7:], data[:8] + b"\x63" + data[9:]]  # encrypted, an unknown compression
    central = data.index(b"PK\x01\x02")
    headers += [data[: central + 8] + b"\x01" + data[central + 9 :], data[: central + 10] + b"c" + data[central + 11 :]]
    for damage in [*headers, *flipped(data, 100, seed=3, header=64), *(damage for _, damage in broken(data, seed=4))]:
        assert _noticed(recorded, [damage]) == 0  # says so, or uses what zip's checksums let through


def test_of_many_runs_one_seed_an_arm_is_read(
    write_run: WriteRun, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label, seeds in (("base", [1, 2, 3]), ("one", [2, 3]), ("other", [0, 3]), ("third", [1, 2]), ("zero", [9])):
        for seed in seeds:
            _write(write_run, label, seed)
    monkeypatch.setattr(reading, "MOST_READ", 4)
    arms = comparable(find_runs([outputs])).arms
    read = reading.predictions(arms, find(arms, "base"))
    assert {label: [one.seed for one in found] for label, found in read.arms.items()} == {
        "base": [2, 3],
        "one": [2],
        "other": [3],
    }
    assert "There are 10 runs: only the answers of 4 were read" in read.scope[0]
    assert "2 arms had to be left out of this." in read.scope[0]
