"""The verdict on a run: each case, and that it comes from the record."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrnexp.runs.bottleneck import Use, diagnosis, use_of, utilization
from wrnexp.runs.journal import Journal
from wrnexp.runs.record import Record, read_record

GPU: dict[str, Any] = {"cores": 16, "gpu": True, "batch_size": 64}
CPU: dict[str, Any] = {"cores": 2, "gpu": False, "batch_size": 64}


@pytest.mark.parametrize(
    ("waited", "share", "use", "words"),
    [
        (
            0.38, 0.2, Use(**GPU, workers=2),
            "waited for data 38% of the training time: raise loader.workers (2 now, 16 cores here), or use "
            "loader=resident",
        ),
        (0.5, None, Use(**GPU, workers=16), "all 16 cores load images already (16 workers); use loader=resident"),
        (0.5, None, Use(**GPU, workers=None), "50% of the training time: the batches are made beside the steps"),
        (0.5, None, Use(**CPU, workers=0), "50% of the training time: the batches are made beside the steps"),
        (0.5, None, Use(**CPU, workers=2), "images are loaded by the 2 cores that training uses; loader=resident"),
        (
            0.05, None, Use(**CPU, workers=2),
            "1,234 images/s; loader=resident or loader.workers=0 would leave it the 2 cores (2 workers now)",
        ),
        (
            0.05, None, Use(**CPU, workers=0),
            "bound by the step: 1,234 images/s; precision and kernels are the fastest for these 2 cores",
        ),
        (
            0.0, None, Use(**CPU, workers=2, slower=("trainer.precision=auto", "trainer.compile=null")),
            "images/s; faster here: trainer.precision=auto trainer.compile=null",
        ),
        (0.0, 0.45, Use(**GPU, workers=2), "1,234 images/s, 45% of the device's matrix peak; precision and kernels"),
        (0.0, 0.2, Use(**GPU, workers=2), "a larger loader.batch_size would fill the device better (64 now)"),
        (0.0, 0.2, Use(**GPU, workers=2, accumulate=4), "loader.batch_size=256 optim.accumulate=1 would fill"),
        (0.0, None, Use(**GPU, workers=2), "1,234 images/s; precision and kernels are the fastest for this device"),
        (0.5, None, Use(cores=1, gpu=False, batch_size=64, workers=1), "by the 1 core that training uses"),
    ],
)  # fmt: skip
def test_each_case(waited: float, share: float | None, use: Use, words: str) -> None:
    assert words in diagnosis(waited, 1234.4, share, use)


@given(
    waited=st.floats(0, 1),
    rate=st.floats(0.01, 1e6),
    share=st.none() | st.floats(0, 1),
    use=st.builds(
        Use,
        cores=st.integers(1, 256),
        gpu=st.booleans(),
        workers=st.none() | st.integers(0, 64),
        batch_size=st.none() | st.integers(1, 4096),
        accumulate=st.integers(1, 8),
    ),
)
def test_it_is_one_line_on_one_of_two_causes(waited: float, rate: float, share: float | None, use: Use) -> None:
    text = diagnosis(waited, rate, share, use)
    assert text.startswith("waited for data " if waited >= 0.1 else "bound by the step: ")
    assert "\n" not in text
    if use.workers is not None and use.workers > use.cores:
        assert "raise loader.workers" not in text


def test_utilization_is_of_six_operations_a_multiply_add() -> None:
    assert utilization(33_000, 1_548_000_000, 989.5e12) == pytest.approx(33_000 * 9.288e9 / 989.5e12)


def record(**provenance: Any) -> Record:
    config = {
        "loader": {"_target_": "wrnexp.data.TrainLoader", "workers": 3, "batch_size": 512},
        "optim": {"accumulate": 2},
    }
    return Record(run_id="a", arm_id="b", label="c", seed=0, config=config, provenance=provenance)


def row(epoch: int, rate: float, wait: float, seconds: float) -> dict[str, Any]:
    names = ("val_loss", "val_accuracy", "test_loss", "test_accuracy")
    figures = {"epoch": epoch, "step": epoch, "train_loss": 1.0, "images_per_second": rate, "data_wait": wait}
    return figures | {"seconds": seconds} | dict.fromkeys(names)


def test_what_a_run_used_comes_from_its_record() -> None:
    told = {"cpus": 8, "device_type": "cuda", "slower_choices": ["trainer.compile=null"]}
    assert use_of(record(**told)) == Use(8, True, 3, 512, 2, ("trainer.compile=null",))
    assert use_of(Record(run_id="a", arm_id="b", label="c", seed=0, config={"loader": 3})) == Use(1, False, None, None)


def test_the_record_has_the_median_epochs_speed_and_the_whole_wait(tmp_path: Path) -> None:
    journal = Journal(record(cpus=16, device_type="cuda", peak_flops=1e12), tmp_path)
    journal.record.cost.macs_per_image = 10**9
    slow, fast = row(1, 10.0, 0.9, 100.0), row(2, 100.0, 0.0, 10.0)
    journal.on_epoch([slow])
    assert read_record(tmp_path).cost.images_per_second == 10.0
    journal.on_epoch([slow, fast])
    cost = read_record(tmp_path).cost
    assert cost.images_per_second == 100.0
    assert (cost.images, cost.train_seconds) == (2000, 110.0)
    assert cost.data_wait == pytest.approx(90 / 110)
    assert cost.flops_utilization == pytest.approx(100 * 6e9 / 1e12)
    assert cost.verdict is not None
    assert cost.verdict.startswith("waited for data 82% of the training time: raise loader.workers (3 now, 16 cores")


def test_no_peak_no_utilization(tmp_path: Path) -> None:
    journal = Journal(record(cpus=2, device_type="cpu", peak_flops=None), tmp_path)
    journal.record.cost.macs_per_image = 10**9
    journal.on_epoch([row(1, 10.0, 0.0, 1.0)])
    assert journal.record.cost.flops_utilization is None
    assert "matrix peak" not in (journal.record.cost.verdict or "")
