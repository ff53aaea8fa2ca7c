"""Distributions of the draws against torchvision's, and independence of the images."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torchvision.transforms import v2

from wrnexp.augment import Jitter
from wrnexp.augment.erasing import Cutout, RandomErasing, erase, outside
from wrnexp.augment.jitter import ColourJitter
from wrnexp.augment.operations import NUMBERS
from wrnexp.augment.policies import AutoAugment, Policy, PolicyPlans, RandAugment, TrivialAugmentWide, policy
from wrnexp.errors import UserError
from wrnexp.seeding import uniforms

SIDE, OURS, THEIRS = 32, 20_000, 3_000
ALMOST_SURE = 1e-4  # the seeds are fixed: a p-value below this is a mistake, not bad luck

# torchvision's names of operations to ours.
NAMES = {
    "Identity": "identity", "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x",
    "TranslateY": "translate_y", "Rotate": "rotate", "Brightness": "brightness", "Color": "saturation",
    "Contrast": "contrast", "Sharpness": "sharpness", "Posterize": "posterize", "Solarize": "solarize",
    "AutoContrast": "autocontrast", "Equalize": "equalize", "Invert": "invert",
}  # fmt: skip

POLICIES: dict[str, tuple[Policy, Any]] = {
    "rand": (RandAugment(2, 9, SIDE, SIDE), v2.RandAugment(2, 9)),
    "strong": (RandAugment(3, 30, SIDE, SIDE), v2.RandAugment(3, 30)),
    "nothing": (RandAugment(1, 0, SIDE, SIDE), v2.RandAugment(1, 0)),
    "trivial": (TrivialAugmentWide(SIDE, SIDE), v2.TrivialAugmentWide()),
    "auto": (AutoAugment(SIDE, SIDE), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
}


def their_draws(transform: Any, count: int) -> list[list[tuple[str, float]]]:
    """Return what torchvision's transform would do to each of `count` images."""
    operations: list[tuple[str, float]] = []

    def record(image: torch.Tensor, name: str, magnitude: float, **_: Any) -> torch.Tensor:
        operations.append(to_our_terms(NAMES[name], magnitude))
        return image

    transform._apply_image_or_video_transform = record
    torch.manual_seed(0)
    image, draws = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8), []
    for _ in range(count):
        transform(image)
        draws.append([operation for operation in operations if operation[0] != "identity"])
        operations.clear()
    return draws


def to_our_terms(name: str, magnitude: float) -> tuple[str, float]:
    if name in ("brightness", "saturation", "contrast", "sharpness"):
        magnitude += 1
    if name.startswith("translate"):
        magnitude = int(magnitude)
    return name, round(magnitude, 6) + 0.0


def our_draws(policy: Policy, numbers: NDArray[np.float64]) -> list[list[tuple[str, float]]]:
    drawn = [[policy.variants[index] for index in row] for row in policy(numbers)]
    return [
        [(spec.operation, round(spec.strength, 6) + 0.0) for spec in row if spec.operation != "identity"]
        for row in drawn
    ]


def p_value(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> float:
    """Test whether two samples of categories come from one distribution; rare categories are pooled."""
    mine, other = Counter(ours), Counter(theirs)
    assert set(other) <= set(mine), f"never drawn here: {set(other) - set(mine)}"
    expected = {key: (mine[key] + other[key]) * len(theirs) / (len(ours) + len(theirs)) for key in mine}
    common = [key for key in mine if expected[key] >= 5]
    rare = [key for key in mine if expected[key] < 5]
    rows = [[counts[key] for key in common] + [sum(counts[key] for key in rare)] for counts in (mine, other)]
    table = np.array(rows)[:, np.array(rows).sum(0) > 0]
    return float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


@pytest.mark.parametrize("name", POLICIES)
def test_policies_draw_as_torchvision(name: str) -> None:
    ours, transform = POLICIES[name]
    our_rows, their_rows = our_draws(ours, uniforms(1, 0, OURS, ours.words)), their_draws(transform, THEIRS)
    single: Callable[[Any], list[Hashable]] = lambda rows: [operation for row in rows for operation in row]  # noqa: E731
    assert p_value(single(our_rows), single(their_rows)) > ALMOST_SURE
    sequence: Callable[[Any], list[Hashable]] = lambda rows: [tuple(name for name, _ in row) for row in rows]  # noqa: E731
    assert p_value(sequence(our_rows), sequence(their_rows)) > ALMOST_SURE


@pytest.mark.parametrize("name", ["rand", "trivial", "auto"])
def test_one_draw_per_batch_would_be_detected(name: str) -> None:
    ours, transform = POLICIES[name]
    batch_wide = np.repeat(uniforms(1, 0, OURS // 512 + 1, ours.words), 512, axis=0)[:OURS]
    theirs = [operation for row in their_draws(transform, THEIRS) for operation in row]
    with pytest.raises(AssertionError):
        assert p_value([operation for row in our_draws(ours, batch_wide) for operation in row], theirs) > ALMOST_SURE


@pytest.mark.parametrize("name", ["rand", "trivial", "auto"])
def test_neighbours_draw_independently(name: str) -> None:
    policy, _ = POLICIES[name]
    number_of = np.array([NUMBERS.get(spec.operation, NUMBERS["move"]) for spec in policy.variants])
    operations = number_of[policy(uniforms(2, 0, OURS, policy.words))]
    for earlier, later in [(operations[:-1, 0], operations[1:, 0]), (operations[:-512, 0], operations[512:, -1])]:
        pairs = np.zeros((len(NUMBERS), len(NUMBERS)))
        np.add.at(pairs, (earlier, later), 1)
        pairs = pairs[pairs.sum(1) > 0][:, pairs.sum(0) > 0]
        assert stats.chi2_contingency(pairs).pvalue > ALMOST_SURE


@pytest.mark.parametrize("name", POLICIES)
def test_steps_list_what_can_be_drawn(name: str) -> None:
    policy, _ = POLICIES[name]
    plans = PolicyPlans(policy)
    numbers = uniforms(3, 0, OURS, policy.words)
    operations, strengths = plans(numbers)
    assert operations.shape == (OURS, len(plans.steps))
    for step, possible in enumerate(plans.steps):
        assert set(operations[:, step].tolist()) <= set(possible)
    moves = strengths[operations == NUMBERS["move"]]
    assert set(moves.tolist()) <= set(range(len(plans.moves)))
    assert strengths.dtype == np.float32


def test_policies_by_name() -> None:
    assert policy("none", 2, 9, 32, 32) is None
    with pytest.raises(UserError, match=r"augment\.policy is mixup: none, autoaugment, randaugment or trivialaugment"):
        policy("mixup", 2, 9, 32, 32)


def test_jitter_draws_as_torchvision() -> None:
    strengths = Jitter(brightness=0.2, contrast=0.7, saturation=1.5, hue=0.1)
    jitter, theirs = ColourJitter(strengths), v2.ColorJitter(**strengths)
    plan = jitter(uniforms(4, 0, OURS, jitter.words))
    torch.manual_seed(0)
    drawn = [theirs.make_params([]) for _ in range(THEIRS)]
    keys = ["brightness", "contrast", "saturation", "hue"]
    numbers = [NUMBERS[key] for key in keys]
    orders: list[Hashable] = [tuple(numbers[index] for index in parameters["fn_idx"]) for parameters in drawn]
    assert p_value([tuple(row) for row in plan.operations.tolist()], orders) > ALMOST_SURE
    for key, number in zip(keys, numbers, strict=True):
        ours = plan.strengths[plan.operations == number]
        assert len(ours) == OURS
        assert stats.ks_2samp(ours, [float(parameters[f"{key}_factor"]) for parameters in drawn]).pvalue > ALMOST_SURE


def test_jitter_without_some_operations() -> None:
    jitter = ColourJitter(Jitter(brightness=0.0, contrast=0.3, saturation=0.0, hue=0.2))
    plan = jitter(uniforms(4, 0, 1000, jitter.words))
    assert {tuple(sorted(row)) for row in plan.operations.tolist()} == {(NUMBERS["contrast"], NUMBERS["hue"])}
    assert abs((plan.operations[:, 0] == NUMBERS["hue"]).mean() - 0.5) < 0.07


@pytest.mark.parametrize("size", [(32, 32), (8, 24)])
def test_erasing_draws_as_torchvision(size: tuple[int, int]) -> None:
    ours, theirs = RandomErasing(0.4, *size), v2.RandomErasing(0.4)
    boxes = ours(uniforms(5, 0, OURS, ours.words))
    height, width = boxes.bottom - boxes.top, boxes.right - boxes.left
    assert ((boxes.top >= 0) & (boxes.bottom <= size[0]) & (boxes.left >= 0) & (boxes.right <= size[1])).all()
    assert stats.binomtest(int((height > 0).sum()), OURS, 0.4).pvalue > ALMOST_SURE
    torch.manual_seed(0)
    drawn = [theirs.make_params([torch.zeros(3, *size)]) for _ in range(THEIRS)]
    drawn = [box for box in drawn if box["v"] is not None]
    erased = height > 0
    for mine, key in ((height, "h"), (width, "w"), (boxes.top, "i"), (boxes.left, "j")):
        assert p_value(mine[erased].tolist(), [int(box[key]) for box in drawn]) > ALMOST_SURE


def test_cutout_is_a_square_around_any_pixel() -> None:
    cutout = Cutout(8, 32, 32)
    boxes = cutout(uniforms(6, 0, OURS, 2))
    height = boxes.bottom - boxes.top
    assert set(height.tolist()) == {4, 5, 6, 7, 8}
    inside = height == 8
    assert stats.chisquare(np.bincount(boxes.top[inside])).pvalue > ALMOST_SURE
    assert abs(inside.mean() - 25 / 32) < 0.02
    assert (boxes.right - boxes.left).max() == 8


@pytest.mark.parametrize("eraser", [RandomErasing(0.5, 16, 24), Cutout(6, 16, 24)])
def test_boxes_and_masks_erase_alike(eraser: RandomErasing | Cutout) -> None:
    images = torch.rand(40, 3, 16, 24) + 1
    boxes = eraser(uniforms(7, 0, 40, eraser.words))
    masked = images * outside(boxes, 16, 24, torch.device("cpu"))
    assert torch.equal(erase(images.clone(), boxes), masked)
    assert 0 < (masked == 0).double().mean() < 0.5
