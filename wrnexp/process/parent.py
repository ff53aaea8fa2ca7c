"""A process that must not outlive the one that started it."""

import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import wait


def when_parent_is_gone(end: Callable[[], None]) -> None:
    """Call `end`, in a thread of its own, once the process that started this one is gone, even killed.

    Nothing is watched in a process that `multiprocessing` has not started.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        end()

    threading.Thread(target=watch, daemon=True, name="end with parent").start()
