"""FastStream on a Redis stream: events per second from a publisher to one handler. Arguments: address of Redis, seconds."""

import asyncio
import itertools
import json
import subprocess
import sys
import time

from faststream.redis import RedisBroker, StreamSub

STREAM, GROUP, PATIENCE_SEC = "bench:faststream", "bench", 30
PAYLOAD = {"agent_id": "agent-123", "note": "x" * 130}

broker = RedisBroker(sys.argv[1], logger=None)
handled = 0


@broker.subscriber(stream=StreamSub(STREAM, group=GROUP, consumer="one", max_records=100))
async def handle(event: dict) -> None:
    global handled
    handled += 1


async def publish():
    await broker.connect()
    for number in itertools.count():
        await broker.publish({"id": f"{number:032d}", "type": "created", "data": PAYLOAD}, stream=STREAM, maxlen=100_000)


async def measure(seconds):
    await broker.start()
    publisher = subprocess.Popen([sys.executable, __file__, sys.argv[1], "publish"])
    try:
        give_up_at = time.monotonic() + PATIENCE_SEC
        while not handled:
            if time.monotonic() > give_up_at:
                sys.exit("no event arrived")
            await asyncio.sleep(0.01)
        before, began = handled, time.perf_counter()
        await asyncio.sleep(seconds)
        return (handled - before) / (time.perf_counter() - began), handled - before
    finally:
        publisher.kill()
        publisher.wait()
        await broker.stop()


if sys.argv[2] == "publish":
    asyncio.run(publish())
else:
    figure, units = asyncio.run(measure(float(sys.argv[2])))
    print(json.dumps({"figure": figure, "units": units}))
