"""A limit on how long a function may run, kept while it hangs."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StepTimedOut(Exception):
    """The function ran longer than its step allows; what it did is not known (S18)."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `StepTimedOut` inside the block after `seconds`.

    In a main thread (prefork, solo) a timer signal interrupts even blocking system calls. In other threads the
    exception is set from outside and is seen when the thread runs Python code again: there a function that blocks in C
    is given up by the sweeper instead, when its lease ends.
    """
    if threading.current_thread() is threading.main_thread():
        with _by_signal(seconds):
            yield
    else:
        with _by_async_exception(seconds):
            yield


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise StepTimedOut(f"ran longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def _by_async_exception(seconds: float) -> Iterator[None]:
    thread_id, lock, ended = threading.get_ident(), threading.Lock(), False

    def interrupt() -> None:
        # The lock closes the gap in which the block has just ended and its thread went on to other work.
        with lock:
            if not ended:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(StepTimedOut))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            ended = True
