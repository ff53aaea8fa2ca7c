"""Prepare the next batch while the current one is in use: in a thread on a CPU, on a separate stream on a GPU."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from wrnexp.data.loaders.augmentation import Batch


def prefetch_in_thread(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield from `batches`; a thread prepares the next batch as soon as one is taken.

    The thread uses one core: training needs the others, and short operations do not gain from more. It must not draw
    from torch's global generators, which training uses at the same time.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, "batches", initializer=torch.set_num_threads, initargs=(1,)) as thread:
        try:
            batch = thread.submit(next, batches, None).result()
        finally:
            # `set_num_threads` in the thread also sets the default for later threads: restore it.
            torch.set_num_threads(threads)
        while batch is not None:
            following = thread.submit(next, batches, None)
            yield batch
            batch = following.result()


def prefetch_on_stream(batches: Iterator[Batch], stream: torch.cuda.Stream) -> Iterator[Batch]:
    """Yield from `batches`; each batch is prepared on `stream`, one ahead. The host does not wait for the device."""
    stream.wait_stream(torch.cuda.current_stream(stream.device))  # tensors that the batches are made from

    def prepare() -> Batch | None:
        with torch.cuda.stream(stream):
            return next(batches, None)

    following = prepare()
    while (batch := following) is not None:
        training = torch.cuda.current_stream(stream.device)
        training.wait_stream(stream)
        for tensor in batch:
            tensor.record_stream(training)  # keeps the allocator from reusing the memory before training has read it
        following = prepare()
        yield batch
