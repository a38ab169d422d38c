"""pybreaker with its state in memory: calls per second through a closed breaker."""

import json
import sys
import time

import pybreaker

breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=60)


def nothing():
    return None


until, done = time.perf_counter() + float(sys.argv[1]), 0
started = time.perf_counter()
while time.perf_counter() < until:
    for _ in range(100):
        breaker.call(nothing)
    done += 100
print(json.dumps({"figure": done / (time.perf_counter() - started), "units": done}))
