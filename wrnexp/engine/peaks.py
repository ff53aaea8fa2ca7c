"""The matrix peak of known GPUs, as their makers state it: dense, without the factor that sparsity may give."""

import re

# A pattern of the name, then FLOP/s in bf16 (float32 sums) and in float32 (outside the matrix units). The first that
# fits counts. Source: NVIDIA's data sheet of each product; those of Hopper and Ada state bf16 with sparsity, twice
# these figures. V100 and T4 have no bf16.
PEAKS: tuple[tuple[str, float | None, float], ...] = (
    (r"\bH200 NVL\b", 835.5e12, 60e12),
    (r"\bH200\b", 989.5e12, 67e12),
    (r"\bH100 NVL\b", 835.5e12, 60e12),
    (r"\bH100 PCIe\b", 756e12, 51e12),
    (r"\bH100\b", 989.5e12, 67e12),
    (r"\bA100\b", 312e12, 19.5e12),
    (r"\bL40S\b", 362e12, 91.6e12),
    (r"\bL4\b", 121e12, 30.3e12),
    (r"\bA10\b", 125e12, 31.2e12),
    (r"\bV100-SXM", None, 15.7e12),
    (r"\bT4\b", None, 8.1e12),
)


def peak_flops(name: str, *, bf16: bool) -> float | None:
    """Return the FLOP/s that a GPU can reach in a matrix product; None where it is not known.

    Args:
        name: as torch gives it, for instance `NVIDIA H100 80GB HBM3`.
        bf16: in bfloat16, else in float32 (without TF32, which wrnexp does not use).
    """
    if "MIG" in name:  # a slice of a GPU, which does not have the whole's peak
        return None
    for pattern, half, single in PEAKS:
        if re.search(pattern, name):
            return half if bf16 else single
    return None
