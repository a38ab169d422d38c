"""The threads behind the async faces: what waits for others holds up nothing of the hub's own."""

import asyncio
import threading

import pytest

from hub import aio
from sagas import local

MANY = aio.WAITING_THREADS + 50


@pytest.fixture
def over():
    event = threading.Event()
    yield event
    event.set()


def test_what_waits_for_others_holds_up_no_short_work(over):
    async def scenario():
        waiting = [asyncio.ensure_future(aio.in_waiting_thread(over.wait, 20)) for _ in range(MANY)]
        found = await asyncio.wait_for(aio.in_thread(lambda: "done"), 5)
        over.set()
        await asyncio.gather(*waiting)
        return found

    assert asyncio.run(scenario()) == "done"


def test_slow_functions_of_a_caller_hold_up_no_beat(over, monkeypatch):
    """A beat that does not come in time parks a run that is alive."""
    beats = asyncio.Event()
    monkeypatch.setattr(local, "BEAT_SEC", 0.01)
    monkeypatch.setattr(local, "_beat_once", lambda execution_id: beats.set())

    async def scenario():
        slow = [asyncio.ensure_future(local._call(lambda given: over.wait(20), {})) for _ in range(MANY)]
        beating = asyncio.create_task(local._beat("one"))
        await asyncio.wait_for(beats.wait(), 5)
        over.set()
        beating.cancel()
        await asyncio.gather(*slow)

    asyncio.run(scenario())
