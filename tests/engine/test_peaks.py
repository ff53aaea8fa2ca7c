"""Stated peaks by the names that torch gives GPUs."""

import pytest

from wrnexp.engine.peaks import peak_flops


@pytest.mark.parametrize(
    ("name", "half", "single"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5, 67),
        ("NVIDIA H100 PCIe", 756, 51),
        ("NVIDIA H100 NVL", 835.5, 60),
        ("NVIDIA H200", 989.5, 67),
        ("NVIDIA A100-SXM4-80GB", 312, 19.5),
        ("NVIDIA A100-PCIE-40GB", 312, 19.5),
        ("NVIDIA L40S", 362, 91.6),
        ("Tesla T4", None, 8.1),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None, None),
        ("NVIDIA GH200 480GB", None, None),
        ("NVIDIA A1000", None, None),
        ("AMD EPYC, 2 threads", None, None),
    ],
)
def test_peaks_in_tera(name: str, half: float | None, single: float | None) -> None:
    assert peak_flops(name, bf16=True) == (None if half is None else half * 1e12)
    assert peak_flops(name, bf16=False) == (None if single is None else single * 1e12)
