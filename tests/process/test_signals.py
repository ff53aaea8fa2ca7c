"""Signals against blocks that are held, blocks that are not, and processes that inherit the handler."""

# ruff: noqa: PT012  what a signal breaks off is a block, not a statement

import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from wrnexp.errors import Stopped, is_out_of_time, one_line
from wrnexp.process.signals import STOPPING, SignalGuard, TimeLimit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR2, 140)])
def test_a_signal_ends_the_block_at_once_where_nothing_is_held(number: signal.Signals, code: int) -> None:
    reached = []
    with pytest.raises(Stopped) as stopped, SignalGuard().listening():
        os.kill(os.getpid(), number)
        reached.append(True)
    assert not reached
    assert (stopped.value.code, stopped.value.number) == (code, number)
    assert number.name in str(stopped.value)


def test_a_held_block_ends_first_however_often_it_is_told() -> None:
    reached = []
    stop = SignalGuard()
    with pytest.raises(Stopped) as stopped, stop.listening():
        with stop.deferred():
            for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM):
                os.kill(os.getpid(), number)
            reached.append("the end of the block")
        reached.append("what follows it")
    assert reached == ["the end of the block"]
    assert stopped.value.number == signal.SIGUSR2


def test_a_held_block_is_broken_off_after_a_while() -> None:
    stop = SignalGuard(grace=0.2)
    begin = time.monotonic()
    with pytest.raises(Stopped), stop.listening(), stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    assert 0.2 <= time.monotonic() - begin < 30


def test_an_error_in_a_held_block_after_a_signal_is_the_signal_s() -> None:
    stop = SignalGuard()
    with pytest.raises(Stopped) as stopped, stop.listening(), stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("a worker was killed")
    assert isinstance(stopped.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="its own"), stop.listening(), SignalGuard().deferred():
        raise RuntimeError("its own")


def test_while_a_run_is_closed_further_signals_pass() -> None:
    stop, closed = SignalGuard(), []
    with pytest.raises(Stopped), stop.listening():
        try:
            os.kill(os.getpid(), signal.SIGUSR2)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            closed.append(True)
    assert closed


def test_the_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)]
    with pytest.raises(Stopped), SignalGuard().listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)] == before


def test_a_process_that_inherits_the_handler_lives_on() -> None:
    with SignalGuard().listening():
        child = os.fork()
        if child == 0:  # as a loader's process, where a scheduler sends its signal to all processes of a job
            os.kill(os.getpid(), signal.SIGUSR2)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_another_thread_may_run_a_block_but_hears_nothing() -> None:
    done = []

    def block() -> None:
        stop = SignalGuard()
        with stop.listening(), stop.deferred():
            done.append(True)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done


PASSED = TimeLimit(60.0, "trainer.max_seconds", ends=0.0)


def test_a_time_limit_ends_a_timed_block_at_its_end_and_no_other() -> None:
    stop, reached = SignalGuard(limit=PASSED), []
    with pytest.raises(Stopped) as stopped, stop.listening():
        with stop.deferred():
            reached.append("not timed")
        with stop.deferred(timed=True):
            reached.append("timed")
        reached.append("what follows it")
    assert reached == ["not timed", "timed"]
    assert (stopped.value.code, stopped.value.number) == (124, None)
    stopped.value.checkpointed = "up to step 12 of 48 in epoch 3"
    assert one_line(stopped.value) == (
        "Stopped: time limit of 60 s reached (trainer.max_seconds); checkpointed up to step 12 of 48 in epoch 3"
    )
    assert is_out_of_time(one_line(stopped.value))


def test_a_signal_goes_before_a_time_limit() -> None:
    stop = SignalGuard(limit=PASSED)
    with pytest.raises(Stopped) as stopped, stop.listening(), stop.deferred(timed=True):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM
    assert not is_out_of_time(one_line(stopped.value))


def test_a_time_limit_that_is_not_reached_ends_nothing() -> None:
    with SignalGuard(limit=TimeLimit.from_now(3600, "trainer.max_seconds")).deferred(timed=True):
        pass


@pytest.mark.parametrize("wrong", [None, "ten", True, -1, 0, [5], {}])
def test_no_limit_and_wrong_limits_are_none(wrong: Any) -> None:
    assert TimeLimit.from_now(wrong, "trainer.max_seconds") is None


def test_a_limit_reaches_another_process_as_it_is() -> None:
    limit = TimeLimit.from_now(0.1 + 0.2, "sweep.max_seconds")
    assert limit is not None
    assert TimeLimit.read(limit.written) == limit
    assert TimeLimit.read(None) is None
