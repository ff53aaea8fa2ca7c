import numpy as np
import pytest
from PIL import Image

from wrnexp.augment import Augment, Jitter

OFF = Jitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)


@pytest.fixture
def off() -> Augment:
    """Every augmentation switched off."""
    return Augment(
        padding=0, padding_mode="constant", flip=0.0, policy="none", num_ops=2, magnitude=9, jitter=OFF, erasing=0.0,
        cutout=0, mixup=0.0, cutmix=0.0,
    )  # fmt: skip


@pytest.fixture
def image() -> Image.Image:
    """An image with structure on all scales and without symmetry."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    smooth = np.stack([4 * rows + 2 * columns, 7 * columns, 130 + 40 * np.sin(rows * columns / 60)], 2)
    return Image.fromarray((smooth + rng.integers(0, 30, (32, 32, 3))).clip(0, 255).astype(np.uint8))
