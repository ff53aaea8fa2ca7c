"""What a completed run's network makes of images that are in no data set."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wrnexp.engine import Hardware, evaluate
from wrnexp.trained.opening import Trained


def probabilities(run: Trained, pixels: NDArray[np.uint8], hardware: Hardware) -> Tensor:
    """Return the probabilities of the classes, float32 [N, classes], on the CPU.

    Args:
        run: whose network is asked.
        pixels: uint8 [N, H, W, 3], of the network's size.
        hardware: where to compute.
    """
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255
    nobody = torch.zeros(len(images), dtype=torch.int64)  # labels, which are not known
    with hardware.settings():
        return evaluate(hardware.to_device(run.classifier), [(images, nobody)], hardware).logits.softmax(1)
