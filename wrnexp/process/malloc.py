"""What the C library does with freed memory, where that costs time."""

import ctypes
import platform

# Of glibc's mallopt, from its malloc.h; 32 MiB is the most that the second may be.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT, MAPPED = 2**30, 32 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next use rather than give it back at once; return whether it will.

    Tensors of a few MiB are made and freed all the time. glibc gets each from the system and gives it back, and the
    system clears every page anew: on a CPU most of the time of simple operations. Up to 1 GiB at the end of the heap is
    kept instead. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_THRESHOLD, MAPPED)) and bool(library.mallopt(TRIM_THRESHOLD, KEPT))
