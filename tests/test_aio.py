"""The threads behind the async faces: what waits for others holds up nothing of the hub's own."""

import asyncio
import threading

import pytest

from hub import aio

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
