import math
import pickle
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from wrnexp.augment import Augment, Jitter
from wrnexp.errors import UserError

MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
LIGHT_JITTER = Jitter(brightness=0.2, contrast=0.3, saturation=0.4, hue=0.1)

CROP: dict[str, Any] = {"padding": 4, "flip": 0.5}
RECIPES: dict[str, tuple[dict[str, Any], list[v2.Transform], list[v2.Transform]]] = {
    "crop": ({"padding": 4}, [v2.RandomCrop(32, padding=4)], []),
    "reflect": (
        {"padding": 3, "padding_mode": "reflect"},
        [v2.RandomCrop(32, padding=3, padding_mode="reflect")],
        [],
    ),
    "base": (
        CROP | {"policy": "autoaugment"},
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
        ],
        [],
    ),
    "light": (
        CROP | {"policy": "randaugment", "jitter": LIGHT_JITTER, "erasing": 0.5},
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.RandAugment(2, 9),
            v2.ColorJitter(0.2, 0.3, 0.4, 0.1),
        ],
        [v2.RandomErasing(0.5)],
    ),
    "strong": (
        {"policy": "randaugment", "num_ops": 3, "magnitude": 20, "jitter": LIGHT_JITTER | {"hue": 0.0}},
        [v2.RandAugment(3, 20), v2.ColorJitter(0.2, 0.3, 0.4)],
        [],
    ),
    "trivial": ({"policy": "trivialaugment", "erasing": 1.0}, [v2.TrivialAugmentWide()], [v2.RandomErasing(1.0)]),
    "nothing": ({}, [], []),
}


def draw(transform: Callable[[Image.Image], Tensor], image: Image.Image, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return transform(image)


@pytest.mark.parametrize("name", RECIPES)
def test_equals_torchvision_built_by_hand(name: str, off: Augment, image: Image.Image) -> None:
    changes, before, after = RECIPES[name]
    normalise = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    expected = v2.Compose([*before, *normalise, *after])
    ours = replace(off, **changes).per_image(32, MEAN, STD)
    for seed in range(60):
        torch.testing.assert_close(draw(ours, image, seed), draw(expected, image, seed), rtol=1e-5, atol=1e-5)


def other_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the global generator is what must not matter)


@pytest.mark.parametrize("policy", ["autoaugment", "randaugment", "trivialaugment"])
def test_all_random_numbers_are_torchs(policy: Any, off: Augment, image: Image.Image) -> None:
    recipe = replace(off, padding=4, flip=0.5, policy=policy, jitter=LIGHT_JITTER, erasing=0.5)
    transform = recipe.per_image(32, MEAN, STD)
    other_generators(seed=0)
    first = [draw(transform, image, seed) for seed in range(40)]
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random()  # noqa: NPY002
    other_generators(seed=1)
    assert all(torch.equal(before, draw(transform, image, seed)) for seed, before in enumerate(first))
    assert len({tensor.numpy().tobytes() for tensor in first}) > 35


def test_output_is_the_normalised_image(off: Augment, image: Image.Image) -> None:
    tensor = off.per_image(32, MEAN, STD)(image)
    assert tensor.dtype == torch.float32
    expected = (np.asarray(image) / 255 - MEAN) / STD
    np.testing.assert_allclose(tensor.numpy(), expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


def test_the_image_given_stays_as_it_is(off: Augment, image: Image.Image) -> None:
    before = np.asarray(image).copy()
    transform = replace(off, policy="randaugment", jitter=LIGHT_JITTER, erasing=1.0).per_image(32, MEAN, STD)
    for _ in range(20):
        transform(image)
    np.testing.assert_array_equal(np.asarray(image), before)


def test_erasing_sets_a_rectangle_of_the_normalised_image_to_zero(off: Augment, image: Image.Image) -> None:
    plain = off.per_image(32, MEAN, STD)(image)
    erased = replace(off, erasing=1.0).per_image(32, MEAN, STD)
    for seed in range(30):
        tensor = draw(erased, image, seed)
        rows, columns = torch.where((tensor != plain).any(0))
        box = slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)
        assert (tensor[:, box[0], box[1]] == 0).all()
        area = len(range(*box[0].indices(32))) * len(range(*box[1].indices(32))) / 32**2
        assert 0.01 < area < 0.36


def within(count: int, trials: int, p: float) -> bool:
    return abs(count - trials * p) <= 4.5 * math.sqrt(trials * p * (1 - p))


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_frequencies_of_flips_and_erasing(p: float, off: Augment, image: Image.Image) -> None:
    torch.manual_seed(0)
    plain = off.per_image(32, MEAN, STD)(image)
    flip, erase = replace(off, flip=p).per_image(32, MEAN, STD), replace(off, erasing=p).per_image(32, MEAN, STD)
    trials = 1000
    flipped = [flip(image) for _ in range(trials)]
    assert within(sum(torch.equal(tensor, plain.flip(2)) for tensor in flipped), trials, p)
    assert all(torch.equal(tensor, plain) or torch.equal(tensor, plain.flip(2)) for tensor in flipped)
    assert within(sum(not torch.equal(erase(image), plain) for _ in range(trials)), trials, p)


def test_a_sure_flip_always_flips(off: Augment, image: Image.Image) -> None:
    flip = replace(off, flip=1.0).per_image(32, MEAN, STD)
    assert torch.equal(flip(image), off.per_image(32, MEAN, STD)(image).flip(2))


def test_crops_fall_evenly_on_all_offsets(off: Augment, image: Image.Image) -> None:
    torch.manual_seed(0)
    plain = off.per_image(32, MEAN, STD)(image)
    black = -torch.tensor(MEAN) / torch.tensor(STD)
    padded = black[:, None, None].expand(3, 36, 36).clone()
    padded[:, 2:34, 2:34] = plain
    seen = torch.zeros(5, 5)
    crop = replace(off, padding=2).per_image(32, MEAN, STD)
    for _ in range(800):
        cropped = crop(image)
        (offset,) = [
            (top, column)
            for top in range(5)
            for column in range(5)
            if torch.allclose(cropped, padded[:, top : top + 32, column : column + 32], atol=1e-5)
        ]
        seen[offset] += 1
    assert all(within(int(count), 800, 1 / 25) for count in seen.flatten())


def test_can_be_pickled(off: Augment, image: Image.Image) -> None:
    recipe = replace(off, padding=4, flip=0.5, policy="randaugment", jitter=LIGHT_JITTER, erasing=0.2)
    transform = recipe.per_image(32, MEAN, STD)
    again = pickle.loads(pickle.dumps(transform))
    for seed in range(10):
        assert torch.equal(draw(again, image, seed), draw(transform, image, seed))


def test_other_sizes(off: Augment) -> None:
    transform = replace(off, padding=8, flip=0.5, policy="autoaugment", erasing=0.5).per_image(64, MEAN, STD)
    assert transform(Image.new("RGB", (64, 64), (200, 30, 90))).shape == (3, 64, 64)


def test_an_unknown_policy_names_the_known(off: Augment) -> None:
    with pytest.raises(UserError, match=r"augment\.policy is mixup: none, autoaugment, randaugment or trivialaugment"):
        replace(off, policy="mixup").per_image(32, MEAN, STD)  # type: ignore[arg-type]
