import threading
import time
from collections.abc import Iterator

import pytest
import torch

from wrnexp.data.loaders.augmentation import Batch
from wrnexp.data.loaders.prefetch import prefetch_in_thread


def numbered(count: int, log: list[str] | None = None, fails_at: int | None = None) -> Iterator[Batch]:
    for index in range(count):
        if index == fails_at:
            raise RuntimeError("a worker is gone")
        if log is not None:
            log.append(f"made {index} with {torch.get_num_threads()} in {threading.current_thread().name}")
        yield torch.tensor([index]), torch.tensor([index])


@pytest.mark.parametrize("count", [0, 1, 7])
def test_all_batches_in_order(count: int) -> None:
    assert [int(images) for images, _ in prefetch_in_thread(numbered(count))] == list(range(count))


def test_the_next_is_made_while_one_is_used() -> None:
    log: list[str] = []
    for images, _ in prefetch_in_thread(numbered(3, log)):
        deadline = time.monotonic() + 20
        while len(log) < min(int(images) + 2, 3) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(log) == min(int(images) + 2, 3)
    assert all("with 1 in batches" in line for line in log)


def test_other_threads_keep_their_number_of_cores() -> None:
    before, threads = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for _ in prefetch_in_thread(numbered(3)):
            other = threading.Thread(target=lambda: threads.append(torch.get_num_threads()))
            other.start()
            other.join()
        assert (torch.get_num_threads(), threads) == (2, [2, 2, 2])
    finally:
        torch.set_num_threads(before)


def test_an_error_reaches_the_consumer() -> None:
    batches = prefetch_in_thread(numbered(5, fails_at=2))
    assert [int(next(batches)[0]) for _ in range(2)] == [0, 1]
    with pytest.raises(RuntimeError, match="a worker is gone"):
        next(batches)


def test_no_thread_remains_after_an_unfinished_epoch() -> None:
    batches = prefetch_in_thread(numbered(5))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
