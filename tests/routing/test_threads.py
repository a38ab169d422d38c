"""The threads of a broadcast serve the next one, unless one of them hangs."""

import os
import threading
from concurrent.futures import wait

import pytest

from hub.routing import threads
from hub.routing.budget import budget
from registry_app import outcomes


@pytest.fixture(autouse=True)
def _none_kept():
    threads._idle.clear()


def use(call=int):
    """Run one call as a broadcast would, and return the pool that did."""
    futures = []
    with threads.lent(futures) as pool:
        futures.append(pool.submit(call))
        wait(futures, timeout=0.2)
    return pool


def test_the_next_broadcast_has_the_same_threads():
    assert use() is use()


def test_two_at_once_have_their_own_and_both_are_kept():
    with threads.lent([]) as one, threads.lent([]) as other:
        assert one is not other

    assert {use(), use()} <= {one, other}
    assert len(threads._idle) == 2


def test_no_more_than_two_are_kept():
    with threads.lent([]), threads.lent([]), threads.lent([]):
        pass

    assert len(threads._idle) == 2


def test_threads_of_which_one_hangs_are_left_to_end_by_themselves():
    ended = threading.Event()
    hanging = use(ended.wait)

    assert use() is not hanging
    ended.set()
    with pytest.raises(RuntimeError):
        hanging.submit(int)


def test_a_broadcast_that_breaks_gives_its_threads_back():
    with pytest.raises(ZeroDivisionError), threads.lent([]) as pool:
        _ = 1 / 0

    assert use() is pool


def test_a_fork_starts_its_own():
    use()

    pid = os.fork()
    if not pid:
        os._exit(len(threads._idle))

    assert os.waitpid(pid, 0)[1] == 0


def test_a_fork_in_the_middle_of_a_count_lets_its_child_count():
    with budget._lock, outcomes._lock:
        pid = os.fork()
        if not pid:
            is_free = budget._lock.acquire(timeout=1) and outcomes._lock.acquire(timeout=1)
            os._exit(0 if is_free else 1)

    assert os.waitpid(pid, 0)[1] == 0
