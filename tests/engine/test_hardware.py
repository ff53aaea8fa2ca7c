"""The hardware that `auto` and null settle on."""

import pytest
import torch
from torch import nn

from wrnexp.engine import Hardware
from wrnexp.errors import UserError


def test_a_cpu_in_float32() -> None:
    hardware = Hardware.settle("cpu", "fp32", channels_last=False, compile=False)
    assert (hardware.device.type, hardware.precision) == ("cpu", "fp32")
    assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
    with hardware.autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32


def test_bf16_computes_in_bfloat16_and_keeps_float32_weights() -> None:
    hardware = Hardware.settle("cpu", "bf16")
    layer = hardware.to_device(nn.Linear(2, 2))
    with hardware.autocast():
        assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32


def test_channels_last_reaches_weights_and_images() -> None:
    hardware = Hardware.settle("cpu", channels_last=True)
    layer = hardware.to_device(nn.Conv2d(3, 4, 3))
    images, labels = hardware.batch(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(UserError, match=rf"trainer\.device={device}: torch sees 0 CUDA devices"):
        Hardware.settle(device)


def test_peak_memory_sees_a_large_tensor_and_starts_again() -> None:
    hardware = Hardware.settle("cpu")
    hardware.reset_peak_memory()
    before = hardware.peak_memory()
    if before is None:
        pytest.skip("this platform does not tell the peak of memory")
    held = torch.ones(32 * 2**20)  # 128 MiB
    after = hardware.peak_memory()
    assert after is not None
    assert after - before > 100 * 2**20
    del held
    hardware.reset_peak_memory()
    again = hardware.peak_memory()
    assert again is not None
    assert again < after


def test_a_gpus_settings_hold_inside_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrnexp.engine.hardware._device", torch.device)
    cudnn = torch.backends.cudnn
    before = (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    with Hardware.settle("cuda", "fp32", compile=False).settings():
        assert (cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32) == (True, True, False)
        assert not torch.backends.cuda.matmul.allow_tf32
    assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == before


def test_a_cpus_settings_are_torchs() -> None:
    before = torch.backends.cudnn.benchmark
    with Hardware.settle("cpu").settings():
        assert torch.backends.cudnn.benchmark is before


def test_choices_that_are_slower_are_named() -> None:
    assert Hardware.settle("cpu").slower_choices() == []
    slow = Hardware.settle("cpu", channels_last=False, compile=True).slower_choices()
    assert slow == ["trainer.channels_last=null", "trainer.compile=null"]


def test_what_the_record_tells() -> None:
    told = Hardware.settle("cpu", "fp32").described()
    assert (told["device_type"], told["precision"], told["compile"], told["cuda_graphs"]) == (
        "cpu",
        "fp32",
        False,
        False,
    )
    assert told["peak_flops"] is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_gpu_computes_what_the_cpu_does() -> None:
    hardware = Hardware.settle("cuda", "fp32", compile=False)
    layer = nn.Conv2d(3, 8, 3)
    images = torch.randn(4, 3, 16, 16)
    expected = layer(images)
    found = hardware.to_device(layer)(hardware.batch(images, torch.zeros(4, dtype=torch.int64))[0])
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
