"""saga-framework on Celery and Postgres: sagas of five steps that do nothing, per second.

Arguments: address of Redis, address of Postgres, number, at once. It starts a worker of two processes and ends it.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE, PATIENCE_SEC = Path(__file__).parent, 60
os.environ |= {"RIVAL_REDIS_URL": sys.argv[1], "RIVAL_POSTGRES_URL": sys.argv[2]}
number, at_once = int(sys.argv[3]), int(sys.argv[4])

import saga_framework_app as rival  # noqa: E402  (it reads the addresses)


@contextlib.contextmanager
def worker():
    command = [sys.executable, "-m", "celery", "-A", "saga_framework_app", "worker", "-c", "2", "-Q", f"{rival.STEPS},{rival.REPLIES}"]
    process = subprocess.Popen([*command, "-l", "ERROR", "--without-mingle", "--without-gossip"], cwd=HERE, stdout=sys.stderr)
    try:
        give_up_at = time.monotonic() + PATIENCE_SEC
        while not rival.app.control.ping(timeout=0.5):
            if time.monotonic() > give_up_at:
                sys.exit("the worker did not start")
        yield
    finally:
        process.terminate()
        process.wait(30)


def start():
    saga_id = rival.database().execute("INSERT INTO bench_rival_saga (status) VALUES ('new') RETURNING id").fetchone()[0]
    rival.Five(rival.Repository(), rival.app, saga_id).execute()


def run(sagas):
    started = min(sagas, at_once)
    for _ in range(started):
        start()
    for ended in range(sagas):
        if rival.told.brpop([rival.ENDED], timeout=PATIENCE_SEC) is None:
            sys.exit(f"{ended} of {sagas} sagas ended")
        if started < sagas:
            start()
            started += 1


rival.database().execute("CREATE TABLE IF NOT EXISTS bench_rival_saga (id bigserial PRIMARY KEY, status text NOT NULL)")
rival.told.delete(rival.ENDED, rival.STEPS, rival.REPLIES)
with worker():
    run(10)
    began = time.perf_counter()
    run(number)
    took = time.perf_counter() - began
print(json.dumps({"figure": number / took, "units": number}))
