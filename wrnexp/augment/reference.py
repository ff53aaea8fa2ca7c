"""The reference form of a recipe's augmentation: torchvision's v2 transforms, one PIL image after another."""

from collections.abc import Callable, Iterator, Sequence

import torch
from PIL.Image import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from wrnexp.augment.recipe import Augment
from wrnexp.errors import UserError


def per_image(recipe: Augment, size: int, mean: Sequence[float], std: Sequence[float]) -> Callable[[Image], Tensor]:
    """Return `recipe` as a function from an RGB image to a normalised tensor, see `Augment.per_image`."""
    for key in ("cutout", "mixup", "cutmix"):
        if value := getattr(recipe, key):
            raise UserError(f"augment.{key}={value} is not of loader.backend=torchvision; use loader.backend=batched")
    transforms = [*_geometry(recipe, size), *_policy(recipe), *_jitter(recipe), Normalise(mean, std), *_erasing(recipe)]
    composed: Callable[[Image], Tensor] = v2.Compose(transforms)
    return composed


class Normalise:
    """From an RGB image to a float32 tensor `[3, H, W]`: pixels over 255, minus the mean, over the deviation.

    One multiplication and one subtraction a pixel; torchvision's three transforms for it take three times as long, a
    third of all the time where images are only cropped and flipped.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        deviation = torch.tensor(std, dtype=torch.float64)[:, None, None]
        self.scale = (1 / (255 * deviation)).float()
        self.shift = (torch.tensor(mean, dtype=torch.float64)[:, None, None] / deviation).float()

    def __call__(self, image: Image) -> Tensor:
        """Normalise one image."""
        pixels: Tensor = pil_to_tensor(image)
        return pixels * self.scale - self.shift


def _geometry(recipe: Augment, size: int) -> Iterator[v2.Transform]:
    if recipe.padding:
        yield v2.RandomCrop(size, padding=recipe.padding, padding_mode=recipe.padding_mode)
    if recipe.flip:
        yield v2.RandomHorizontalFlip(recipe.flip)


def _policy(recipe: Augment) -> Iterator[v2.Transform]:
    match recipe.policy:
        case "none":
            return
        case "autoaugment":
            yield v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
        case "randaugment":
            yield v2.RandAugment(recipe.num_ops, recipe.magnitude)
        case "trivialaugment":
            yield v2.TrivialAugmentWide()
        case other:
            raise UserError(f"augment.policy is {other}: none, autoaugment, randaugment or trivialaugment")


def _jitter(recipe: Augment) -> Iterator[v2.Transform]:
    if any(recipe.jitter.values()):
        yield v2.ColorJitter(**recipe.jitter)


def _erasing(recipe: Augment) -> Iterator[v2.Transform]:
    if recipe.erasing:
        yield v2.RandomErasing(recipe.erasing, inplace=True)
