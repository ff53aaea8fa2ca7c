import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import stdev

import pytest

from tests.damage import broken, flipped
from wrnexp.report.build import gathered
from wrnexp.report.measures import Run, epoch_seconds, late_oscillation, series, step_images
from wrnexp.report.text.notes import notes
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.record import LaterEvaluation, add_evaluation, read_record

WriteRun = Callable[..., Path]


def _run(folder: Path) -> Run:
    return Run(folder, folder.name, read_record(folder))


def test_late_oscillation_is_the_spread_of_the_changes_in_the_last_quarter(write_run: WriteRun) -> None:
    curve = [0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.6, 0.62, 0.61, 0.65, 0.64]
    run = _run(write_run("base", 0, 0.64, curve=curve))
    assert late_oscillation(run) == pytest.approx(stdev([0.62 - 0.61, 0.61 - 0.65, 0.65 - 0.64]))


@pytest.mark.parametrize(
    "curve",
    [[], [0.1] * 8, [0.1] * 11 + [None], [0.1] * 8 + [None] + [0.1] * 3],
    ids=["no epochs", "too few", "last not tested", "first not tested"],
)
def test_late_oscillation_is_unknown_without_every_late_test(
    write_run: WriteRun, curve: Sequence[float | None]
) -> None:
    assert late_oscillation(_run(write_run("base", 0, 0.64, curve=curve))) is None


def test_early_epochs_need_no_test(write_run: WriteRun) -> None:
    run = _run(write_run("base", 0, 0.64, curve=[None, *[0.1] * 11]))
    assert late_oscillation(run) == 0.0


def test_epoch_seconds_are_the_mean_over_the_epochs(write_run: WriteRun) -> None:
    assert epoch_seconds(_run(write_run("base", 0, 0.6, curve=[0.1, 0.2, 0.3]))) == pytest.approx(12.0)
    assert epoch_seconds(_run(write_run("base", 1, 0.6))) is None


def test_a_series_has_only_what_was_measured(write_run: WriteRun) -> None:
    folder = write_run("base", 0, 0.6)
    lines = [
        '{"epoch": 1, "x": 1}',
        '{"epoch": 2, "x": null}',
        '{"epoch": 3, "x": true}',
        '{"epoch": 4, "x": "1"}',
        '{"epoch": 5, "x": 2}',
        "5",
        '{"epoch": 6, "x": 3}',
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    assert series(_run(folder), "x") == {1: 1, 5: 2}


def test_a_damaged_curve_is_not_used(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    folder = write_run("base", 0, 0.6, curve=[0.1, 0.2])
    write_run("base", 1, 0.6, curve=[0.1, 0.2])
    data = (folder / "metrics.jsonl").read_bytes()
    raw = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(raw | {"files": {"metrics.jsonl": bytes_digest(data)}}))
    assert series(_run(folder), "test_accuracy") == {1: 0.1, 2: 0.2}
    damage = [*flipped(data, 25, seed=0), *(damage for _, damage in broken(data, seed=1))]
    for changed in damage:
        (folder / "metrics.jsonl").write_bytes(changed)
        assert _run(folder).rows == []
    (note,) = [note for note in notes(gathered([outputs], tmp_path)) if "damaged" in note]
    assert note.startswith(f"{folder.relative_to(tmp_path)}: metrics.jsonl is damaged: its content is not what the run")


def test_curves_that_cannot_be_read_are_none(write_run: WriteRun) -> None:
    folder = write_run("base", 0, 0.6)
    (folder / "metrics.jsonl").write_bytes(b"\x80")
    assert _run(folder).rows == []


def test_images_of_a_step(write_run: WriteRun) -> None:
    assert step_images(_run(write_run("base", 0, 0.6, cost={"images": 49_152 * 85, "steps": 48 * 85}))) == 1024
    assert step_images(_run(write_run("base", 1, 0.6))) is None


@pytest.mark.parametrize(
    ("device", "cpu"),
    [
        ("NVIDIA H200", False),
        ("AMD EPYC 9V74, 2 threads", True),
        ("arm, 1 threads", True),
        ("cpu", True),
        ("mps", False),
        (None, False),
    ],
)
def test_processors_are_told_from_gpus(write_run: WriteRun, device: str | None, cpu: bool) -> None:
    assert _run(write_run("base", 0, 0.6, provenance={"device": device})).on_cpu is cpu


def test_a_device_asked_for_is_believed(write_run: WriteRun) -> None:
    assert _run(write_run("x", 0, 0.6, config={"trainer": {"device": "cpu"}})).on_cpu


def test_several_devices_are_another_device_than_one(write_run: WriteRun) -> None:
    one, four = (_run(write_run("base", seed, 0.6, provenance={"devices": n})) for seed, n in ((0, 1), (1, 4)))
    assert (one.device, four.device) == ("NVIDIA H200", "4 x NVIDIA H200")


def test_later_looks_at_the_test_set_are_counted(write_run: WriteRun, outputs: Path, tmp_path: Path) -> None:
    folder = write_run("base", 0, 0.6, test_looks=3)
    assert _run(folder).later_looks == 0
    for looks in (1, 2):
        one = LaterEvaluation(test_looks=looks, metrics={"test_accuracy": 0.6}, equal_to_record=True)
        add_evaluation(folder, "run-base-0", one)
    assert _run(folder).later_looks == 3
    (folder / "evaluations.json").write_text("{")
    assert _run(folder).later_looks == 0
    (note,) = [note for note in notes(gathered([outputs], tmp_path)) if "evaluations.json" in note]
    assert note.startswith(f"{folder.relative_to(tmp_path)}: evaluations.json cannot be read. Its looks at the test")
