"""What a pool of processes does, shown by one in this process: `python -m tests.lone_pool NAME` ends with 0 and the name if it holds."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from kombu.asynchronous import Hub, set_event_loop

from hub.pool import Pool

LIMIT_SEC = 40.0


def make(processes: int = 1, **options: Any) -> tuple[Pool, Callable[[Callable[[], bool]], None]]:
    """Return a pool, and what turns its loop until a condition holds."""
    hub = set_event_loop(Hub())
    pool = Pool(processes, threads=False, **options)
    pool.register_with_event_loop(hub)
    hub.timer.clear()  # no second look after five seconds
    hub.call_repeatedly(0.05, int)  # so that it turns when nothing happens
    loop, give_up_at = hub.create_loop(), time.monotonic() + LIMIT_SEC

    def turn_until(condition: Callable[[], bool]) -> None:
        while not condition():
            assert time.monotonic() < give_up_at, "this did not come true in time"
            next(loop)

    return pool, turn_until


def a_process_that_did_its_last_task_is_given_no_other() -> Pool:
    pool, turn_until = make(maxtasksperchild=1)
    put_back, again = [], pool._put_back
    pool._put_back = lambda job: put_back.append(job) or again(job)
    done: list[int] = []

    for _ in range(2):
        pool.apply_async(os.getpid, callback=done.append)
    turn_until(lambda: len(done) == 2)

    assert len(set(done)) == 2, done
    assert put_back == []
    return pool


def processes_are_not_replaced_all_at_once() -> Pool:
    pool, turn_until = make(2, maxtasksperchild=4)
    first = {process.pid for process in pool._pool}
    done: list[int] = []

    for _ in range(30):
        pool.apply_async(os.getpid, callback=done.append)
    turn_until(lambda: len(done) == 30)

    often = Counter(done)
    assert sorted(often[pid] for pid in first) == [2, 4], often
    assert {often[pid] for pid in often.keys() - first - {process.pid for process in pool._pool}} == {4}, often
    return pool


def a_process_that_ends_slowly_is_replaced_all_the_same() -> Pool:
    pool, turn_until = make()
    (before,) = pool._pool

    pool.apply_async(close_all_and_end, (0.25,))
    turn_until(lambda: before not in pool._pool and len(pool._pool) == 1)

    assert before.exitcode == 0
    return pool


def a_process_that_closed_its_pipe_and_stays_stops_nobody() -> Pool:
    pool, turn_until = make()
    (process,) = pool._pool

    pool.apply_async(close_all_and_end, (30.0,))
    turn_until(lambda: process._sentinel_poll is None)

    assert process.exitcode is None
    os.kill(process.pid, signal.SIGKILL)
    return pool


def close_all_and_end(after_sec: float) -> None:
    """Close the pipe that tells of this process's end some time before it."""
    os.closerange(3, 1_000)
    time.sleep(after_sec)
    os._exit(0)


if __name__ == "__main__":
    globals()[sys.argv[1]]().terminate()
    print(sys.argv[1], flush=True)  # noqa: T201
    os._exit(0)  # billiard's own goodbye waits for processes that were killed
