"""aiohttp with asyncio.gather: milliseconds (median) for one request to each of N addresses. Arguments: address, N, times."""

import asyncio
import json
import sys
import time

import aiohttp

url, number, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


async def fetch(session):
    async with session.get(url) as answer:
        await answer.json()


async def main():
    taken = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(fetch(session) for _ in range(number)))
        for _ in range(times):
            started = time.perf_counter()
            await asyncio.gather(*(fetch(session) for _ in range(number)))
            taken.append((time.perf_counter() - started) * 1000)
    return sorted(taken)[times // 2]


print(json.dumps({"figure": asyncio.run(main()), "units": times}))
