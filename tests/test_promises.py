"""Which share of an H200's promises holds for other GPUs."""

import pytest

from tests.promises import H200, share_of_h200


@pytest.mark.parametrize(
    ("name", "share"),
    [
        (H200, 1.0),
        ("NVIDIA H100 80GB HBM3", 3.35 / 4.8),  # memory is what is slower
        ("NVIDIA H200 NVL", 835.5 / 989.5),  # the matrix units are
        ("NVIDIA H200 MIG 1g.18gb", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA A100-SXM4-80GB", None),
        ("no GPU", None),
    ],
)
def test_share(name: str, share: float | None) -> None:
    assert share_of_h200(name) == (None if share is None else pytest.approx(share))
