"""The next batch while the one before is trained on: from a thread on a CPU, on a stream of its own on a GPU."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from wrnexp.data.loaders.augmentation import Batch


def prefetch_in_thread(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield what `batches` yields; a thread asks it for the next one as soon as one is taken.

    The thread computes on one core: the others are training's, and short operations gain nothing by more. Nothing that
    it does may draw from torch's global generators, which training draws from at the same time.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, "batches", initializer=torch.set_num_threads, initargs=(1,)) as thread:
        try:
            batch = thread.submit(next, batches, None).result()
        finally:
            torch.set_num_threads(threads)  # each thread has its own number; this is for threads that are yet to come
        while batch is not None:
            following = thread.submit(next, batches, None)
            yield batch
            batch = following.result()


def prefetch_on_stream(batches: Iterator[Batch], stream: torch.cuda.Stream) -> Iterator[Batch]:
    """Yield what `batches` yields; each is prepared on `stream`, one ahead, and the host waits for neither."""
    stream.wait_stream(torch.cuda.current_stream(stream.device))  # for what the batches are made of

    def prepared() -> Batch | None:
        with torch.cuda.stream(stream):
            return next(batches, None)

    following = prepared()
    while (batch := following) is not None:
        training = torch.cuda.current_stream(stream.device)
        training.wait_stream(stream)
        for tensor in batch:
            tensor.record_stream(training)  # its memory may be used again only when training is past it
        following = prepared()
        yield batch
