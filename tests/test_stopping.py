"""Signals against blocks that are held, blocks that are not, and processes that inherit the handler."""

# ruff: noqa: PT012  what a signal breaks off is a block, not a statement

import os
import signal
import sys
import threading
import time

import pytest

from wrnexp.errors import Stopped
from wrnexp.stopping import STOPPING, Stop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR2, 140)])
def test_a_signal_ends_the_block_at_once_where_nothing_is_held(number: signal.Signals, code: int) -> None:
    reached = []
    with pytest.raises(Stopped) as stopped, Stop().heard():
        os.kill(os.getpid(), number)
        reached.append(True)
    assert not reached
    assert (stopped.value.code, stopped.value.number) == (code, number)
    assert number.name in str(stopped.value)


def test_a_held_block_ends_first_however_often_it_is_told() -> None:
    reached = []
    stop = Stop()
    with pytest.raises(Stopped) as stopped, stop.heard():
        with stop.held():
            for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM):
                os.kill(os.getpid(), number)
            reached.append("the end of the block")
        reached.append("what follows it")
    assert reached == ["the end of the block"]
    assert stopped.value.number == signal.SIGUSR2


def test_a_held_block_is_broken_off_after_a_while() -> None:
    stop = Stop(grace=0.2)
    begin = time.monotonic()
    with pytest.raises(Stopped), stop.heard(), stop.held():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    assert 0.2 <= time.monotonic() - begin < 5


def test_an_error_in_a_held_block_after_a_signal_is_the_signal_s() -> None:
    stop = Stop()
    with pytest.raises(Stopped) as stopped, stop.heard(), stop.held():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("a worker was killed")
    assert isinstance(stopped.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="its own"), stop.heard(), Stop().held():
        raise RuntimeError("its own")


def test_while_a_run_is_closed_further_signals_pass() -> None:
    stop, closed = Stop(), []
    with pytest.raises(Stopped), stop.heard():
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            closed.append(True)
    assert closed


def test_the_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)]
    with pytest.raises(Stopped), Stop().heard():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)] == before


def test_a_process_that_inherits_the_handler_lives_on() -> None:
    with Stop().heard():
        child = os.fork()
        if child == 0:  # as a loader's process, where a scheduler sends its signal to all processes of a job
            os.kill(os.getpid(), signal.SIGUSR2)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_another_thread_may_run_a_block_but_hears_nothing() -> None:
    done = []

    def block() -> None:
        stop = Stop()
        with stop.heard(), stop.held():
            done.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done
