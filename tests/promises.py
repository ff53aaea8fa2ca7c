"""Training speed that the project promises on an H200, and what follows from it for other GPUs."""

import pytest
import torch

from wrnexp.engine.peaks import peak_flops

H200 = "NVIDIA H200"
IMAGES_PER_SECOND = {"light": 33_000, "base": 10_000}  # on an H200, loader=resident
AUGMENTATION_SHARE = 0.08  # of the time, at most

# Bytes/s of memory, by a part of the GPU's name. Source: NVIDIA's data sheet of each product.
BANDWIDTH = {"H200": 4.8e12, "H100 80GB HBM3": 3.35e12}


def share_of_h200(name: str) -> float | None:
    """Return the share of an H200's promises that holds for a GPU, at most 1; None if its figures are not known.

    What a GPU computes is bound by its matrix units or by its memory. So it takes at most as many times longer than on
    an H200 as the worse of the two is slower, by the figures of the maker.
    """
    peak = peak_flops(name, bf16=True)
    bandwidth = next((figure for part, figure in BANDWIDTH.items() if part in name), None)
    if peak is None or bandwidth is None:
        return None
    return min(1.0, peak / (peak_flops(H200, bf16=True) or peak), bandwidth / BANDWIDTH["H200"])


def promised(recipe: str) -> float:
    """Return the images/s that are promised of this machine's GPU; skip the test if nothing is."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    share = share_of_h200(name)
    if share is None:
        pytest.skip(f"the promises are of {', '.join(BANDWIDTH)}; here is {name}")
    return share * IMAGES_PER_SECOND[recipe]
