import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR

from wrnexp.optim import Cosine, Schedule, Steps

LR = 0.3


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)


def torch_rates(scheduler: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0] / LR)
        scheduler.optimizer.step()
        scheduler.step()
    return [float(rate) for rate in rates]


def rates(schedule: Schedule, steps_per_epoch: int, epochs: int) -> list[float]:
    return [schedule(step, steps_per_epoch, epochs) for step in range(steps_per_epoch * epochs)]


@pytest.mark.parametrize(("warmup_epochs", "final"), [(0, 0.0), (2, 0.0), (3, 0.1)])
def test_cosine_is_torchs_linear_and_cosine(warmup_epochs: int, final: float) -> None:
    per_epoch, epochs = 7, 11
    warmup = warmup_epochs * per_epoch
    expected = []
    if warmup:
        expected += torch_rates(LinearLR(sgd(), 1 / warmup, total_iters=warmup - 1), warmup)
    remaining = per_epoch * epochs - warmup
    expected += torch_rates(CosineAnnealingLR(sgd(), remaining, eta_min=final * LR), remaining)
    assert rates(Cosine(warmup_epochs, final), per_epoch, epochs) == pytest.approx(expected, abs=1e-9)


def test_steps_are_torchs_multi_step() -> None:
    per_epoch, epochs, milestones = 5, 20, [6, 12, 16]
    scheduler = MultiStepLR(sgd(), [epoch * per_epoch for epoch in milestones], gamma=0.2)
    expected = torch_rates(scheduler, per_epoch * epochs)
    assert rates(Steps(milestones), per_epoch, epochs) == pytest.approx(expected)


def test_the_papers_steps_fall_with_the_first_step_after_each_milestone() -> None:
    paper = Steps((60, 120, 160))
    steps = [60 * 391 - 1, 60 * 391, 120 * 391 - 1, 120 * 391, 160 * 391 - 1, 160 * 391, 200 * 391 - 1]
    expected = [1, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008]
    assert [paper(step, 391, 200) for step in steps] == pytest.approx(expected)


def test_milestones_between_epochs_and_a_warmup() -> None:
    assert rates(Steps([1.5], gamma=0.5, warmup_epochs=1), 4, 2) == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5]


def test_cosine_by_hand() -> None:
    assert rates(Cosine(warmup_epochs=1), 2, 3) == pytest.approx(
        [0.5, 1, 1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]
    )


epochs = st.integers(1, 40)
per_epoch = st.integers(1, 60)


@settings(deadline=None)
@given(epochs, per_epoch, st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_cosine_rises_then_falls_within_its_bounds(epochs: int, per_epoch: int, share: float, final: float) -> None:
    schedule = Cosine(warmup_epochs=share * epochs, final=final)
    factors = rates(schedule, per_epoch, epochs)
    assert all(0 < factor <= 1 for factor in factors)
    warm = sum(step < min(share, 0.5) * epochs * per_epoch for step in range(len(factors)))
    assert all(a <= b for a, b in itertools.pairwise(factors[:warm]))
    assert all(a >= b for a, b in itertools.pairwise(factors[warm:]))
    assert all(factor >= final - 1e-12 for factor in factors[warm:])


@settings(deadline=None)
@given(epochs, per_epoch, st.lists(st.floats(0.1, 50), max_size=4), st.floats(0.05, 1), st.floats(0, 50))
def test_steps_only_fall_after_the_warmup(
    epochs: int, per_epoch: int, milestones: list[float], gamma: float, warmup: float
) -> None:
    factors = rates(Steps(sorted(milestones), gamma, warmup), per_epoch, epochs)
    assert all(0 < factor <= 1 for factor in factors)
    warm = sum(step < warmup * per_epoch for step in range(len(factors)))
    assert set(factors[warm:]) <= {gamma**passed for passed in range(5)}
    assert all(a >= b for a, b in itertools.pairwise(factors[warm:]))


def test_a_warmup_takes_at_most_half_of_the_training() -> None:
    assert rates(Cosine(warmup_epochs=4), 2, 2) == rates(Cosine(warmup_epochs=1), 2, 2) == [0.5, 1.0, 1.0, 0.5]
