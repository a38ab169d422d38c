"""How many of 32 calls by 8 processes reach a service that has just died, over many trials.

    python -m tests.circuits.wave [--trials 100] [--busy 2] [--no-turns]

The bound that always holds is threshold - 1 + processes = 12. With turns (`hub.circuits.turns`) it is 8, those of the first
wave, as long as five of the eight come to report within the wait of the first.
"""

# ruff: noqa: T201

import argparse
import contextlib
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hub.embedded import free_port, start_redis

PROCESSES, CALLS_EACH = 8, 4
KINDS = {"refused at once": None, "dead after 50 ms": 0.05, "dead after 200 ms": 0.2}


def main():
    """Print a distribution for each kind of death."""
    parser = argparse.ArgumentParser(prog="python -m tests.circuits.wave")
    parser.add_argument("--trials", type=int, default=100, help="of each kind")
    parser.add_argument("--busy", type=int, default=0, help="endless loops beside")
    parser.add_argument("--no-turns", action="store_true", help="the control: nobody waits")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-wave-") as scratch, _redis(Path(scratch)):
        _measure(asked)


@contextlib.contextmanager
def _redis(directory):
    port = free_port()
    os.environ |= {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "HUB_VAR_DIR": str(directory), "DATABASE_URL": ""}
    server = start_redis(directory / "redis", port, append_only=False)
    try:
        yield
    finally:
        server.kill()
        server.wait(10)


def _measure(asked):
    from hub.setup import ensure_django

    ensure_django()
    from hub.circuits import turns
    from tests.circuits.crowd import Processes

    if asked.no_turns:
        turns.SHORTEST_SEC = turns.LONGEST_SEC = 0.0
    crowd = Processes()
    for _ in range(asked.busy):
        crowd.start(_spin)
    for kind, sec in KINDS.items():
        found = Counter(_trials(crowd, sec, asked.trials, kind))
        over = sum(count for reached, count in found.items() if reached > PROCESSES)
        print(f"{kind:18} reached (times): {dict(sorted(found.items()))}; over {PROCESSES}: {over} of {asked.trials}", flush=True)
    crowd.stop()


def _trials(crowd, sec, trials, kind):
    from tests.circuits.crowd import DeadService, fork

    dead, together = [DeadService(sec) for _ in range(trials)], fork.Barrier(PROCESSES)
    for _ in range(PROCESSES):
        crowd.start(_call_all, kind, dead, together)
    crowd.results(PROCESSES)
    return [one.reached.value for one in dead]


def _call_all(kind, dead, together):
    from tests.circuits.crowd import call_until

    for number, one in enumerate(dead):
        call_until(f"{kind.replace(' ', '-')}-{number}", one, together, CALLS_EACH)


def _spin():
    while True:
        pass


if __name__ == "__main__":
    sys.exit(main())
