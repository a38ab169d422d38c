"""What a routed call costs in a worker over a bare pooled call of `requests`, and how long bad targets hold it.

    python -m tests.routing.measure [--rounds 30] [--database postgres://...]

Starts a Redis, a database, a worker and a target of its own; prints medians, ratios, and for each bad target its code, the
time beyond its deadline, and by how much the worker's pool child grew.
"""

# ruff: noqa: T201

import argparse
import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hub.embedded import free_port, start_redis
from hub.management.arguments import whole

ROOT = Path(__file__).resolve().parent.parent.parent
BAD = ("/drip", "/drip-headers", "/hang", "/reset", "/close", "/huge", "/endless", "/bomb")
BAD_SEC = 2.0


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.routing.measure")
    parser.add_argument("--rounds", type=whole(2), default=30, help="of 20 calls of each kind")
    parser.add_argument("--database", default="", help="an empty Postgres to use; SQLite if not given")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-measure-") as scratch, contextlib.ExitStack() as stack:
        _measure(asked, Path(scratch), stack)


def _measure(asked, directory, stack):
    port = free_port()
    redis = start_redis(directory / "redis", port, append_only=False)
    stack.callback(redis.kill)
    stack.callback(gc.collect)  # results say goodbye to Redis when they go
    os.environ |= {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "DATABASE_URL": asked.database or f"sqlite:///{directory / 'hub.sqlite3'}",
        "HUB_VAR_DIR": str(directory),
        "HUB_NO_BOOTSTRAP": "1",
        "HUB_ALLOW_LOOPBACK_ENDPOINTS": "true",
        "DJANGO_SETTINGS_MODULE": "hub.settings",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, check=True)
    url = _target(stack)
    command = [sys.executable, "-m", "celery", "-A", "tests.routing.measure_app", "worker", "-c", "1", "-Q", "hub", "-l", "ERROR"]
    log = stack.enter_context((directory / "worker.log").open("wb"))
    worker = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    stack.callback(worker.wait, 20)
    stack.callback(os.killpg, worker.pid, signal.SIGKILL)
    _ask(asked, url, worker)


def _target(stack):
    """Start the target in a process of its own and return its address."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    stack.callback(process.kill)
    return ours.recv()


def _serve(pipe):
    from tests.routing.targets import Target

    pipe.send(Target().url)
    while True:
        time.sleep(60)


def _ask(asked, url, worker):
    from hub.setup import ensure_django

    ensure_django()
    from hub.celery import app
    from registry_app import services
    from registry_app.values import ServiceInfo

    services.register(ServiceInfo.create("measured", "1.0", url))
    kwargs = {"service_name": "measured", "url": url, "rounds": asked.rounds}
    found = _done(app, "tests.measure", kwargs)
    for name, ms in found.items():
        print(f"{name:20} {ms:7.3f} ms  x {ms / found['bare']:.2f}", flush=True)
    for number, path in enumerate(BAD):
        services.register(ServiceInfo.create(f"bad{number}", "1.0", url))
        _ask_bad(app, f"bad{number}", path, worker)


def _done(app, name, kwargs):
    """Return what a task brought, or the error it ended with."""
    result = app.send_task(name, kwargs=kwargs, queue="hub")
    found = result.get(timeout=300, propagate=False)
    result.forget()  # while there is a Redis to tell
    if isinstance(found, Exception) and not name.startswith("hub."):
        raise found
    return found


def _ask_bad(app, name, path, worker):
    from hub.routing.models import RoutedRequest
    from tests.routing.memory import Peaks

    peaks, deadline_sec = Peaks(worker), 20.0 if path in ("/huge", "/endless", "/bomb") else BAD_SEC
    peaks.begin()
    kwargs = {"service_name": name, "method": "POST", "path": path, "timeout": deadline_sec}
    error = _done(app, "hub.requests.route", kwargs)
    took_ms = RoutedRequest.objects.get(service_name=name).duration_ms
    beyond_ms, grown_kb = took_ms - 1000 * deadline_sec, max(peaks.grown().values())
    print(f"{path:14} {error!s:.6}  ended after {took_ms:8.1f} ms ({beyond_ms:+9.1f} to its deadline), grew by {grown_kb} kB")


if __name__ == "__main__":
    sys.exit(main())
