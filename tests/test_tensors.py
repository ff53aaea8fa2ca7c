from hypothesis import given, settings
from hypothesis import strategies as st

from wrnexp.tensors import share, step_plan

sizes = st.integers(1, 40)


@settings(deadline=None)
@given(st.integers(0, 3000), sizes, sizes)
def test_every_image_has_its_place_in_full_micro_batches(images: int, batch_size: int, accumulate: int) -> None:
    plan = step_plan(images, batch_size, accumulate)
    flat = [size for step in plan for size in step]
    assert sum(flat) == images
    assert all(size == batch_size for size in flat[:-1])
    assert all(0 < size <= batch_size for size in flat)
    assert all(len(step) == accumulate for step in plan[:-1])
    assert all(1 <= len(step) <= accumulate for step in plan)


@settings(deadline=None)
@given(st.integers(0, 3000), sizes, sizes)
def test_drop_last_keeps_the_full_steps_alone(images: int, batch_size: int, accumulate: int) -> None:
    kept = step_plan(images, batch_size, accumulate, drop_last=True)
    assert kept == [(batch_size,) * accumulate] * (images // (batch_size * accumulate))
    rest = step_plan(images, batch_size, accumulate)[len(kept) :]
    assert len(rest) == (1 if images % (batch_size * accumulate) else 0)


def test_the_recipes_epochs() -> None:
    assert step_plan(50_000, 512, 2, drop_last=True) == [(512, 512)] * 48
    assert step_plan(45_000, 512, 2, drop_last=True) == [(512, 512)] * 43
    assert step_plan(50_000, 512, 2)[-1] == (512, 336)
    assert step_plan(50_000, 128) == [(128,)] * 390 + [(80,)]


def test_the_docstrings_example_and_nothing_left() -> None:
    assert step_plan(13, 4, 2) == [(4, 4), (4, 1)]
    assert step_plan(7, 4, 2, drop_last=True) == []
    assert step_plan(0, 4) == []


@settings(deadline=None)
@given(st.integers(0, 300), sizes)
def test_shares_are_even_and_leave_nothing_out(size: int, count: int) -> None:
    shares = [range(size)[share(size, rank, count)] for rank in range(count)]
    assert [index for part in shares for index in part] == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
