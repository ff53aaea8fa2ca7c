"""Every operation against torchvision's functional one, image by image."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from wrnexp.augment import colour, pointwise
from wrnexp.augment.geometry import SourceTable
from wrnexp.augment.operations import NUMBERS, OpPlan, OpSpec, apply_grouped, apply_masked, kernels

SIDE = 16
Reference = Callable[[Tensor, float], Tensor]
Kernel = Callable[[Tensor, Tensor], Tensor]


def edge_cases(side: int = SIDE) -> Tensor:
    """Black, white, grey, one colour, one channel constant, two levels, a ramp, one bright pixel, and noise."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randint(0, 256, (4, 3, side, side), generator=generator, dtype=torch.uint8)
    ramp = torch.arange(side * side).mul(255).div(side * side - 1).to(torch.uint8).view(1, 1, side, side)
    spot = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    spot[0, 1, 3, 4] = 255
    one_constant = noise[:1].clone()
    one_constant[:, 1] = 77
    dark = noise[:1] // 32
    levels = [torch.full((1, 3, side, side), value, dtype=torch.uint8) for value in (0, 1, 127, 128, 254, 255)]
    colours = torch.tensor([[200, 30, 90], [10, 10, 240]], dtype=torch.uint8)[:, :, None, None].expand(2, 3, side, side)
    two = (noise[:1] > 127).to(torch.uint8) * 200
    return torch.cat([noise, ramp.expand(1, 3, side, side), spot, one_constant, dark, *levels, colours, two])


IMAGES = edge_cases()

# Ours, torchvision's, strengths, and the difference in levels that is allowed on uint8.
OPERATIONS: dict[str, tuple[Kernel, Reference, list[float], int]] = {
    "brightness": (colour.brightness, F.adjust_brightness, [0.0, 0.1, 0.73, 1.0, 1.27, 1.9], 0),
    "contrast": (colour.contrast, F.adjust_contrast, [0.0, 0.1, 0.73, 1.0, 1.27, 1.9], 1),
    "saturation": (colour.saturation, F.adjust_saturation, [0.0, 0.1, 0.73, 1.0, 1.27, 1.9], 1),
    "sharpness": (colour.sharpness, F.adjust_sharpness, [0.0, 0.1, 0.73, 1.0, 1.27, 1.9], 1),
    "hue": (colour.hue, F.adjust_hue, [-0.5, -0.1, 0.0, 0.05, 0.333, 0.5], 1),
    "posterize": (pointwise.posterize, lambda x, bits: F.posterize(x, int(bits)), [0, 1, 2, 4, 6, 7, 8], 0),
    "solarize": (
        pointwise.solarize,
        lambda x, share: F.solarize(x, share * (1.0 if x.is_floating_point() else 255.0)),
        [float(share) for share in torch.linspace(0, 1, 31)],
        0,
    ),
    "invert": (lambda x, _: pointwise.invert(x), lambda x, _: F.invert(x), [0.0], 0),
    "autocontrast": (lambda x, _: pointwise.autocontrast(x), lambda x, _: F.autocontrast(x), [0.0], 0),
    "equalize": (lambda x, _: pointwise.equalize(x), lambda x, _: F.equalize(x), [0.0], 0),
}


def image_by_image(images: Tensor, reference: Reference, strengths: Tensor) -> Tensor:
    """Apply torchvision's operation to one image at a time."""
    pairs = zip(images, strengths.tolist(), strict=True)
    return torch.stack([reference(image, float(strength)) for image, strength in pairs])


def crossed(images: Tensor, strengths: list[float]) -> tuple[Tensor, Tensor]:
    """Return every image with every strength."""
    count = len(strengths)
    return images.repeat_interleave(count, 0), torch.tensor(strengths, dtype=torch.float32).repeat(len(images))


def max_difference(ours: Tensor, theirs: Tensor) -> int:
    return int((ours.int() - theirs.int()).abs().max())


@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_torchvision_on_bytes(name: str) -> None:
    ours, reference, strengths, tolerance = OPERATIONS[name]
    images, drawn = crossed(IMAGES, strengths)
    before = images.clone()
    changed = ours(images, drawn)
    assert changed.dtype == torch.uint8
    assert max_difference(changed, image_by_image(images, reference, drawn)) <= tolerance
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_torchvision_on_floats(name: str) -> None:
    ours, reference, strengths, _ = OPERATIONS[name]
    images, drawn = crossed(IMAGES.float() / 255, strengths)
    before = images.clone()
    changed = ours(images, drawn)
    assert changed.dtype == torch.float32
    torch.testing.assert_close(changed, image_by_image(images, reference, drawn), rtol=0, atol=2e-5)
    assert torch.equal(images, before)


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(sorted(OPERATIONS)), seed=st.integers(0, 2**32), data=st.data())
def test_random_images_of_any_size(name: str, seed: int, data: st.DataObject) -> None:
    ours, reference, strengths, tolerance = OPERATIONS[name]
    height, width, low, high = (data.draw(st.integers(3, 40)), data.draw(st.integers(3, 40)),
                                data.draw(st.integers(0, 128)), data.draw(st.integers(129, 256)))  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(low, high, (3, 3, height, width), generator=generator, dtype=torch.uint8)
    whole = name in ("posterize", "solarize")
    strength = st.sampled_from(strengths) if whole else st.floats(min(strengths), max(strengths))
    drawn = torch.tensor(data.draw(st.lists(strength, min_size=3, max_size=3)), dtype=torch.float32)
    assert max_difference(ours(images, drawn), image_by_image(images, reference, drawn)) <= tolerance


def torchvision_move(image: Tensor, move: OpSpec) -> Tensor:
    """Move as torchvision's automatic augmentations do."""
    name, level = move
    degrees = math.degrees(math.atan(level))
    shears = {"shear_x": [degrees, 0.0], "shear_y": [0.0, degrees]}
    shifts = {"translate_x": [int(level), 0], "translate_y": [0, int(level)]}
    if name == "rotate":
        rotated: Tensor = F.rotate(image, level)
        return rotated
    centre = [0, 0] if name in shears else None
    moved: Tensor = F.affine(image, 0.0, shifts.get(name, [0, 0]), 1.0, shears.get(name, [0.0, 0.0]), center=centre)
    return moved


def both_signs(last: float) -> list[float]:
    return [sign * float(level) for level in torch.linspace(0, last, 31) for sign in (1, -1)]


MOVES = [
    *(OpSpec(name, x) for name in ("shear_x", "shear_y") for x in both_signs(0.3) + both_signs(0.99)),
    *(OpSpec(name, float(x)) for name in ("translate_x", "translate_y") for x in range(-40, 41)),
    *(OpSpec("rotate", x) for x in both_signs(30) + both_signs(135) + [90.0, -90.0, 180.0, 45.0]),
]


@pytest.mark.parametrize("shape", [(32, 32), (16, 16), (28, 28), (33, 31), (8, 24)])
def test_every_movement_equals_torchvision(shape: tuple[int, int]) -> None:
    image = torch.arange(1, 3 * shape[0] * shape[1] + 1, dtype=torch.float32).view(3, *shape)
    moves = MOVES if shape == (32, 32) else MOVES[::5]
    move = kernels(moves, *shape)[NUMBERS["move"]]
    moved = move(image.expand(len(moves), -1, -1, -1), torch.arange(len(moves)).float())
    for variant, ours in zip(moves, moved, strict=True):
        assert torch.equal(ours, torchvision_move(image, variant)), variant


def test_movements_keep_the_type_and_the_image() -> None:
    images = IMAGES.clone()
    move = kernels([OpSpec("rotate", 30.0)], SIDE, SIDE)[NUMBERS["move"]]
    assert move(images, torch.zeros(len(images))).dtype == torch.uint8
    assert torch.equal(images, IMAGES)


PLAN_MOVES = [OpSpec("rotate", 20.0), OpSpec("translate_x", -3.0), OpSpec("shear_y", 0.2)]


def random_plan(count: int, steps: int) -> OpPlan:
    """Draw any operation for any image, with a valid strength."""
    rng = np.random.default_rng(count)
    operations = rng.integers(0, len(NUMBERS), (count, steps))
    strengths = rng.uniform(0.0, 0.5, (count, steps)).astype(np.float32)
    strengths[operations == NUMBERS["posterize"]] = 4
    strengths[operations == NUMBERS["move"]] = 1
    return OpPlan(operations, strengths)


def apply_in_a_loop(images: Tensor, plan: OpPlan, made: list[Any]) -> Tensor:
    """Apply a plan in a plain loop over images and steps."""
    results = []
    for image, operations, strengths in zip(images, *plan, strict=True):
        changed = image[None]
        for operation, strength in zip(operations, strengths, strict=True):
            changed = made[operation](changed, torch.tensor([strength]))
        results.append(changed)
    return torch.cat(results)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_grouped_masked_and_a_plain_loop_agree(kind: torch.dtype) -> None:
    images = IMAGES.repeat(6, 1, 1, 1)
    images = images if kind == torch.uint8 else images / 255
    before = images.clone()
    plan, made = random_plan(len(images), 3), kernels(PLAN_MOVES, SIDE, SIDE)
    expected = apply_in_a_loop(images, plan, made)
    operations, strengths = (torch.from_numpy(array) for array in plan)
    assert torch.equal(apply_grouped(images, plan, made), expected)
    assert torch.equal(apply_masked(images, operations, strengths, made, [range(len(NUMBERS))] * 3), expected)
    assert torch.equal(images, before)


def test_masked_reads_nothing_back() -> None:
    """A fake tensor has no data: reading any raises."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    made = kernels(PLAN_MOVES, SIDE, SIDE)
    plan = random_plan(6, 2)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        images = mode.from_tensor(IMAGES[:6])
        operations, strengths = (mode.from_tensor(torch.from_numpy(array)) for array in plan)
        assert apply_masked(images, operations, strengths, made, [range(len(NUMBERS))] * 2).shape == images.shape


def test_a_source_outside_is_black() -> None:
    table = SourceTable([((1.0, 0.0, 100.0), (0.0, 1.0, 0.0))], SIDE, SIDE)
    assert not table(IMAGES, torch.zeros(len(IMAGES), dtype=torch.int64)).any()
