"""Augmentation of batches against torchvision's operations, image by image, with the same draws."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from wrnexp.augment import Augment, Jitter
from wrnexp.augment.batched import BatchAugment, normalise
from wrnexp.augment.operations import NUMBERS
from wrnexp.augment.policies import PolicyPlans

MEAN, STD, CLASSES = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), 10
LIGHT = {
    "padding": 4, "flip": 0.5, "policy": "randaugment", "erasing": 0.2,
    "jitter": Jitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
}  # fmt: skip
BASE = {"padding": 4, "flip": 0.5, "policy": "autoaugment"}
RECIPES: dict[str, dict[str, Any]] = {
    "base": BASE,
    "light": LIGHT,
    "reflect": {"padding": 3, "padding_mode": "reflect", "flip": 0.5},
    "trivial": {"policy": "trivialaugment", "cutout": 8},
    "strong": LIGHT | {"num_ops": 4, "magnitude": 25},
    "flip": {"flip": 0.5},
    "nothing": {},
}

Make = Callable[..., BatchAugment]


@pytest.fixture
def make(off: Augment) -> Make:
    def make(seed: int = 0, **changes: Any) -> BatchAugment:
        return replace(off, **changes).batched(32, MEAN, STD, CLASSES, seed)

    return make


@pytest.fixture
def images() -> Tensor:
    """Smooth images with some noise."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(96, 3, 32, 32, generator=generator)
    coarse = torch.nn.functional.interpolate(torch.rand(96, 3, 4, 4, generator=generator), 32, mode="bilinear")
    return ((0.8 * coarse + 0.2 * noise) * 255).to(torch.uint8)


BY_NUMBER: dict[int, Callable[[Tensor, float], Tensor]] = {
    NUMBERS["identity"]: lambda image, _: image,
    NUMBERS["brightness"]: F.adjust_brightness,
    NUMBERS["contrast"]: F.adjust_contrast,
    NUMBERS["saturation"]: F.adjust_saturation,
    NUMBERS["sharpness"]: F.adjust_sharpness,
    NUMBERS["hue"]: F.adjust_hue,
    NUMBERS["posterize"]: lambda image, bits: F.posterize(image, int(bits)),
    NUMBERS["solarize"]: lambda image, share: F.solarize(image, 255.0 * share),
    NUMBERS["invert"]: lambda image, _: F.invert(image),
    NUMBERS["autocontrast"]: lambda image, _: F.autocontrast(image),
    NUMBERS["equalize"]: lambda image, _: F.equalize(image),
}


def by_torchvision(augment: BatchAugment, recipe: dict[str, Any], images: Tensor, epoch: int, start: int) -> Tensor:
    """Apply what each image draws with torchvision's functional operations."""
    offsets, plan = augment._offsets(epoch, start, len(images)), augment._plan(epoch, start, len(images))
    moves = [move for _, planner in augment._planners if isinstance(planner, PolicyPlans) for move in planner.moves]
    padding, mode, results = recipe.get("padding", 0), recipe.get("padding_mode", "constant"), []
    for image, (y, x, flip), operations, strengths in zip(images, offsets, *plan, strict=True):
        if padding:
            image = F.crop(F.pad(image, [padding], padding_mode=mode), int(y), int(x), 32, 32)
        image = F.horizontal_flip(image) if flip else image
        for number, strength in zip(operations, strengths.tolist(), strict=True):
            image = (
                move(image, *moves[int(strength)]) if number == NUMBERS["move"] else BY_NUMBER[number](image, strength)
            )
        results.append(image)
    return torch.stack(results)


def move(image: Tensor, name: str, level: float) -> Tensor:
    if name == "rotate":
        rotated: Tensor = F.rotate(image, level)
        return rotated
    degrees = math.degrees(math.atan(level))
    shear = [degrees if name == "shear_x" else 0.0, degrees if name == "shear_y" else 0.0]
    shift = [int(level) if name == "translate_x" else 0, int(level) if name == "translate_y" else 0]
    centre = [0, 0] if name.startswith("shear") else None
    transformed: Tensor = F.affine(image, 0.0, shift, 1.0, shear, center=centre)
    return transformed


@pytest.mark.parametrize("name", RECIPES)
def test_equals_torchvision_under_the_same_draws(name: str, make: Make, images: Tensor) -> None:
    augment = make(**RECIPES[name])
    for epoch in range(3):
        augmented = augment.pixels(images, epoch, 100)
        expected = by_torchvision(augment, RECIPES[name], images, epoch, 100)
        difference = (augmented.int() - expected.int()).abs().flatten(1).amax(1)
        # A difference of one level may grow in a later steep operation (equalize, posterize, solarize).
        assert (difference <= 1).double().mean() > 0.9
        assert (augmented == expected).double().mean() > 0.99


@pytest.mark.parametrize("name", RECIPES)
def test_masked_compiled_and_pickled_forms_agree(name: str, make: Make, images: Tensor) -> None:
    augment = make(**RECIPES[name])
    expected = augment.pixels(images, 2, 7)
    draws = [torch.from_numpy(array) for array in (augment._offsets(2, 7, 96), *augment._plan(2, 7, 96))]
    arguments: list[Any] = [images, *draws, augment._kernels_on(images.device)]
    assert torch.equal(augment._augment_masked(*arguments), expected)
    compiled = torch.compile(augment._augment_masked, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*arguments), expected)
    assert torch.equal(pickle.loads(pickle.dumps(augment)).pixels(images, 2, 7), expected)


def test_floats_are_augmented_alike(make: Make, images: Tensor) -> None:
    augment = make(**BASE)
    bytes_, floats = augment.pixels(images, 0, 0), augment.pixels(images / 255, 0, 0)
    assert floats.dtype == torch.float32
    assert ((bytes_ / 255 - floats).abs() < 1.01 / 255).double().mean() > 0.95


def test_the_images_given_stay_as_they_are(make: Make, images: Tensor) -> None:
    before, labels = images.clone(), torch.zeros(96, dtype=torch.int64)
    for recipe in RECIPES.values():
        augment = make(**recipe)
        changed = augment.pixels(images, 0, 0)
        before_finish = changed.clone()
        augment.finish(changed, labels, 0, 0)
        assert torch.equal(changed, before_finish)
    assert torch.equal(images, before)


def test_draws_depend_on_seed_epoch_and_position(make: Make, images: Tensor) -> None:
    same = images[:1].expand(40, -1, -1, -1)
    first = make(**LIGHT).pixels(same, 0, 0)
    assert len({image.numpy().tobytes() for image in first}) > 35
    assert torch.equal(make(**LIGHT).pixels(same[:10], 0, 30), first[30:])
    for other in (make(**LIGHT).pixels(same, 1, 0), make(seed=1, **LIGHT).pixels(same, 0, 0)):
        assert sum(torch.equal(a, b) for a, b in zip(first, other, strict=True)) < 5


def test_recipes_share_what_they_have_in_common(make: Make, images: Tensor) -> None:
    crops = make(padding=4, flip=0.5)
    assert np.array_equal(crops._offsets(3, 0, 50), make(**LIGHT)._offsets(3, 0, 50))


def test_crops_and_flips_are_even(make: Make) -> None:
    y, x, flip = make(padding=4, flip=0.3)._offsets(0, 0, 20_000).T
    assert stats.chisquare(np.bincount(y * 9 + x, minlength=81)).pvalue > 1e-4
    assert stats.binomtest(int(flip.sum()), 20_000, 0.3).pvalue > 1e-4


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_normalise(kind: torch.dtype, images: Tensor) -> None:
    expected = F.normalize(images.float() / 255, list(MEAN), list(STD))
    given = images if kind == torch.uint8 else images / 255
    torch.testing.assert_close(normalise(given, MEAN, STD), expected, rtol=1e-5, atol=1e-5)


def test_erasing_and_cutout_set_the_normalised_image_to_zero(make: Make, images: Tensor) -> None:
    augment = make(erasing=1.0, cutout=8)
    finished, _ = augment.finish(images, torch.zeros(96, dtype=torch.int64), 0, 0)
    plain, unerased = normalise(images, MEAN, STD), 0
    for image, whole in zip(finished, plain, strict=True):
        erased = (image == 0).all(0)
        assert 0.01 < erased.double().mean() < 0.45
        assert torch.equal(image, whole * ~erased)
        unerased += int((~erased).sum())
    assert unerased > 0


def mix_in_a_loop(augment: BatchAugment, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mix image by image, with the same boxes and weights."""
    mixing = augment._mixing
    assert mixing is not None
    boxes, weights = mixing._draw(augment._uniform("mixing", 0, 0, len(images) - 1, mixing.words), 32, 32)
    mixed, targets = [], []
    for index, weight in enumerate(weights.tolist()):
        mixture = weight * images[index] + (1 - weight) * images[index + 1]
        top, bottom, start, end = (int(edge[index]) for edge in boxes)
        mixture[:, top:bottom, start:end] = images[index + 1, :, top:bottom, start:end]
        label_weight = weight * (1 - (bottom - top) * (end - start) / 32**2)
        target = torch.zeros(CLASSES)
        target[labels[index]] += label_weight
        target[labels[index + 1]] += 1 - label_weight
        mixed.append(mixture)
        targets.append(target)
    return torch.stack(mixed), torch.stack(targets)


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 0.7}])
def test_mixing_equals_a_plain_loop(changes: dict[str, float], make: Make, images: Tensor) -> None:
    augment, labels = make(**changes), torch.arange(96) % CLASSES
    assert augment.lookahead == 1
    mixed, targets = augment.finish(images, labels, 0, 0)
    expected, expected_targets = mix_in_a_loop(augment, normalise(images, MEAN, STD), labels)
    torch.testing.assert_close(mixed, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(targets, expected_targets, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(targets.sum(1), torch.ones(95))


def test_weights_of_mixup_are_beta(make: Make) -> None:
    mixing = make(mixup=0.4)._mixing
    assert mixing is not None
    _, weights = mixing._draw(np.random.default_rng(0).random((20_000, 4)), 32, 32)
    assert stats.kstest(weights, stats.beta(0.4, 0.4).cdf).pvalue > 1e-4


def test_boxes_of_cutmix_are_torchvisions(make: Make) -> None:
    from torchvision.transforms import v2

    mixing = make(cutmix=1.0)._mixing
    assert mixing is not None
    boxes, _ = mixing._draw(np.random.default_rng(0).random((20_000, 4)), 32, 32)
    torch.manual_seed(0)
    theirs = v2.CutMix(alpha=1.0, num_classes=2)
    drawn = [theirs.make_params([torch.zeros(3, 32, 32)])["box"] for _ in range(3000)]
    for ours, column in zip((boxes.left, boxes.top, boxes.right, boxes.bottom), zip(*drawn, strict=True), strict=True):
        assert stats.ks_2samp(ours, column).pvalue > 1e-4


def test_half_of_the_images_are_cut_where_both_are_on(make: Make) -> None:
    mixing = make(mixup=0.4, cutmix=1.0)._mixing
    assert mixing is not None
    _, weights = mixing._draw(np.random.default_rng(0).random((20_000, 4)), 32, 32)
    assert stats.binomtest(int((weights == 1).sum()), 20_000, 0.5).pvalue > 1e-4


def test_only_full_batches_are_compiled(make: Make, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller last batch does not compile again, not even if training starts with it."""
    compile_options: dict[str, Any] = {}
    compiled: list[int] = []

    def compile(function: Callable[..., Tensor], **options: Any) -> Callable[..., Tensor]:
        def run(images: Tensor, *drawn: Any) -> Tensor:
            compiled.append(len(images))
            return function(images, *drawn)

        compile_options.update(options)
        return run

    monkeypatch.setattr(torch, "compile", compile)
    augment = make(**LIGHT)
    augment.compile()
    for size in (40, 96, 40, 96, 64):
        assert augment.pixels(images[:size].to("meta"), 0, 0).shape == (size, 3, 32, 32)
    assert compiled == [40, 96, 96]
    # With dynamic shapes torch would use slower kernels for all batches.
    assert compile_options == {"fullgraph": True, "dynamic": False}


def test_half_precision_has_no_nan(make: Make, images: Tensor) -> None:
    augment = make(jitter=Jitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1))
    grey = (images[:, :1] / 255).expand(-1, 3, -1, -1).half()
    assert augment.pixels(grey, 0, 0).isfinite().all()
