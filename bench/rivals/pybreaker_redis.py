"""pybreaker with its state in Redis: calls per second through a closed breaker. Arguments: seconds, address of Redis."""

import json
import sys
import time

import pybreaker
import redis

storage = pybreaker.CircuitRedisStorage(pybreaker.STATE_CLOSED, redis.Redis.from_url(sys.argv[2]), namespace="bench")
breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60, state_storage=storage)


def nothing():
    return None


until, done = time.perf_counter() + float(sys.argv[1]), 0
started = time.perf_counter()
while time.perf_counter() < until:
    breaker.call(nothing)
    done += 1
print(json.dumps({"figure": done / (time.perf_counter() - started), "units": done}))
