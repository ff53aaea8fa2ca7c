import numpy as np
import pytest

from wrnexp.data.loaders.epochs import Epochs, shuffled
from wrnexp.errors import UserError
from wrnexp.seeding import derive
from wrnexp.tensors import step_plan


def test_the_order_never_changes() -> None:
    words = np.random.PCG64(derive(0, "shuffle", 1)).random_raw(12)
    assert shuffled(0, 1, 12).tolist() == sorted(range(12), key=lambda index: words[index])
    assert shuffled(0, 1, 12).tolist() == [1, 0, 9, 8, 4, 6, 5, 10, 3, 7, 2, 11]


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("drop_last", [False, True])
def test_keys_follow_the_plan_and_the_order(drop_last: bool, lookahead: int) -> None:
    epochs = Epochs(45, 8, 2, drop_last=drop_last, seed=3, lookahead=lookahead)
    sizes = [size for step in step_plan(45, 8, 2, drop_last=drop_last) for size in step]
    keys, order = epochs.keys(4), shuffled(3, 4, 45)
    assert [len(key.indices) - lookahead for key in keys] == sizes
    assert len(epochs) == len(keys)
    start = 0
    for key, size in zip(keys, sizes, strict=True):
        assert (key.epoch, key.start) == (4, start)
        assert key.indices.tolist() == np.take(order, range(start, start + size + lookahead), mode="wrap").tolist()
        start += size


@pytest.mark.parametrize("lookahead", [0, 1])
@pytest.mark.parametrize("ranks", [2, 3, 11])
def test_ranks_share_each_micro_batch(ranks: int, lookahead: int) -> None:
    alone = Epochs(45, 8, 2, drop_last=False, seed=3, lookahead=lookahead)
    by_rank = [
        Epochs(45, 8, 2, drop_last=False, seed=3, lookahead=lookahead, rank=rank, ranks=ranks) for rank in range(ranks)
    ]
    assert all(epochs.plan == alone.plan for epochs in by_rank)
    order = shuffled(3, 4, 45)
    for whole, parts in zip(alone.keys(4), zip(*(epochs.keys(4) for epochs in by_rank), strict=True), strict=True):
        shares = [part.indices[: len(part.indices) - lookahead].tolist() for part in parts]
        assert [index for share in shares for index in share] == whole.indices[
            : len(whole.indices) - lookahead
        ].tolist()
        start = whole.start
        for part, indices in zip(parts, shares, strict=True):
            assert part.start == start
            start += len(indices)
            if lookahead:
                assert part.indices[-1] == order[start % 45]


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "drop_last", "message"),
    [
        (46, 2, False, "loader.batch_size=46 is more than the 45 training images"),
        (16, 3, True, "loader.batch_size=16 x optim.accumulate=3 is more than the 45 training images"),
    ],
)
def test_a_batch_larger_than_the_data(batch_size: int, accumulate: int, drop_last: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Epochs(45, batch_size, accumulate, drop_last=drop_last, seed=0)


def test_a_step_larger_than_the_data_is_fine_where_nothing_is_dropped() -> None:
    assert Epochs(45, 16, 9, drop_last=False, seed=0).plan == [(16, 16, 13)]
