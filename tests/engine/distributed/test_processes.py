"""Processes that share a run: how many there are, and what their endings become for the one that started them."""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from wrnexp.engine.distributed.processes import CrashedError, launch, processes
from wrnexp.errors import DivergedError, Stopped, TrainingError, UserError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    endings = importlib.import_module("endings")

    def run(how: str) -> None:
        before = dict(os.environ)
        try:
            launch(endings.end, (how, str(tmp_path)), 2)
        finally:
            assert not multiprocessing.active_children()
            assert dict(os.environ) == before

    return run


@pytest.mark.parametrize(
    ("gpus", "device", "devices", "count"),
    [
        (0, "auto", 1, 1),
        (0, "auto", "auto", 1),
        (0, "cpu", 3, 3),
        (0, "auto", 3, 3),
        (4, "auto", "auto", 4),
        (4, "cuda", 2, 2),
        (4, "cpu", 8, 8),
        (4, "cpu", "auto", 1),
    ],
)
def test_how_many(monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, devices: int | str, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert processes(device, devices) == count


@pytest.mark.parametrize(("gpus", "device"), [(0, "cuda"), (2, "cuda"), (2, "auto")])
def test_more_devices_than_there_are(monkeypatch: pytest.MonkeyPatch, gpus: int, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=rf"trainer\.devices=3 is more than the {gpus} GPUs"):
        processes(device, 3)


@pytest.mark.slow
def test_all_end_well_and_share_the_cores(start: object, tmp_path: Path) -> None:
    assert callable(start)
    start("well")
    threads = max(1, torch.get_num_threads() // 2)
    assert [(tmp_path / rank).read_text() for rank in "01"] == [f"{threads} 2"] * 2


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("killed", TrainingError, "process 2 of the 2 that share this run was killed by SIGKILL"),
        pytest.param("mistaken", UserError, "^a wrong value that only this process sees$", marks=pytest.mark.slow),
        pytest.param("failed", TrainingError, "^the loss is nan$", marks=pytest.mark.slow),
        ("diverged", DivergedError, "^the training loss is nan in epoch 2$"),
        pytest.param("crashed", CrashedError, "(?s)process 2 of 2 failed.*ZeroDivisionError", marks=pytest.mark.slow),
    ],
)
def test_an_ending_is_told_as_it_was(
    start: object, capfd: pytest.CaptureFixture[str], how: str, error: type[Exception], words: str
) -> None:
    assert callable(start)
    with pytest.raises(error, match=words) as raised:
        start(how)
    assert getattr(raised.value, "divergence", None) == ({"step": 5, "loss": None} if how == "diverged" else None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Stopped), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_reaches_all(start: object, number: signal.Signals, error: type[BaseException]) -> None:
    assert callable(start)

    def send() -> None:
        while len(multiprocessing.active_children()) < 2:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    threading.Thread(target=send, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(error):
        start("wait")
    assert time.monotonic() - began < 30
    assert signal.getsignal(number) is before
