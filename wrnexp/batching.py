"""How an epoch's images fall into optimizer steps and micro-batches."""


def step_plan(images: int, batch_size: int, accumulate: int = 1, *, drop_last: bool = False) -> list[tuple[int, ...]]:
    """Return the sizes of the micro-batches of every optimizer step of one epoch.

    A full step takes `batch_size * accumulate` images. With `drop_last` the epoch is a whole number of full steps and
    the images left over wait for the next shuffle. Without it the last step takes what is left, in micro-batches of
    `batch_size` and a smaller last one.

    Args:
        images: images in the training set.
        batch_size: images in a micro-batch, at least 1.
        accumulate: micro-batches a step, at least 1.
        drop_last: leave out the step that is not full.

    Returns:
        One tuple a step, for instance `[(4, 4), (4, 1)]` for 13 images, batch size 4, accumulate 2. Empty where
        `drop_last` leaves nothing.
    """
    full, left = divmod(images, batch_size * accumulate)
    steps = [(batch_size,) * accumulate] * full
    if left and not drop_last:
        whole, rest = divmod(left, batch_size)
        steps.append((batch_size,) * whole + ((rest,) if rest else ()))
    return steps


def share(size: int, rank: int = 0, count: int = 1) -> slice:
    """Return the images of a micro-batch that process `rank` of `count` takes: even shares, in order.

    Shares differ by one image at most; where `size` is less than `count` some are empty.

    Args:
        size: images in the micro-batch.
        rank: of the process, from 0.
        count: processes.
    """
    return slice(size * rank // count, size * (rank + 1) // count)
