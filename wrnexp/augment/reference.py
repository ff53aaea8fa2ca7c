"""The reference augmentation: torchvision's v2 transforms on one PIL image at a time."""

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from wrnexp.augment.settings import AugmentSettings
from wrnexp.errors import UserError


def per_image(
    settings: AugmentSettings, size: int, mean: Sequence[float], std: Sequence[float]
) -> Callable[[Image], Tensor]:
    """Return a function from an RGB image to a normalised tensor, see `Augment.per_image`."""
    for key in ("cutout", "mixup", "cutmix"):
        if strength := getattr(settings, key):
            raise UserError(
                f"augment.{key}={strength} is not supported by loader.backend=torchvision; use loader.backend=batched"
            )
    composed: Callable[[Image], Tensor] = v2.Compose([*_transforms(settings, size, mean, std)])
    return composed


class Normalise:
    """From an RGB image to a float32 tensor `[3, H, W]`: (pixels / 255 - mean) / std.

    One multiplication and one subtraction per pixel. torchvision's three transforms take three times as long, a third
    of the total if images are only cropped and flipped.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        deviation = torch.tensor(std, dtype=torch.float64)[:, None, None]
        self.scale = (1 / (255 * deviation)).float()
        self.shift = (torch.tensor(mean, dtype=torch.float64)[:, None, None] / deviation).float()

    def __call__(self, image: Image) -> Tensor:
        """Normalise one image."""
        pixels: Tensor = pil_to_tensor(image)
        return pixels * self.scale - self.shift


def _transforms(
    settings: AugmentSettings, size: int, mean: Sequence[float], std: Sequence[float]
) -> Iterator[v2.Transform | Normalise]:
    if settings.padding:
        yield v2.RandomCrop(size, padding=settings.padding, padding_mode=settings.padding_mode)
    if settings.flip:
        yield v2.RandomHorizontalFlip(settings.flip)
    yield from _policy(settings)
    if any(settings.jitter.values()):
        yield v2.ColorJitter(**settings.jitter)
    yield Normalise(mean, std)
    if settings.erasing:
        yield v2.RandomErasing(settings.erasing, inplace=True)


def _policy(settings: AugmentSettings) -> Iterator[v2.Transform]:
    match settings.policy:
        case "none":
            return
        case "autoaugment":
            yield v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
        case "randaugment":
            yield v2.RandAugment(settings.num_ops, settings.magnitude)
        case "trivialaugment":
            yield v2.TrivialAugmentWide()
        case unknown:
            raise UserError(f"augment.policy is {unknown}: none, autoaugment, randaugment or trivialaugment")
