"""What traces and metrics cost: the same work with telemetry on and off, in turns, in one run.

    python -m hub.bench.telemetry            # prints the ratios

Each side is a process of its own on the same Redis and database, because the tracer is built once per process. The sides
take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROUNDS, CALLS = 8, 50
SERVICE, SAGA_MODULE = "bench-echo", "hub.bench.sagas"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Medians in milliseconds per piece of work, with telemetry and without."""

    what: str
    on_ms: float
    off_ms: float

    @property
    def ratio(self) -> float:
        """Return how many times as long it takes with telemetry."""
        return self.on_ms / self.off_ms


def measure(*, rounds: int = ROUNDS, calls: int = CALLS) -> list[Cost]:
    """Return what a routed request and a saga step cost; needs REDIS_URL, and uses a database and a service of its own."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory, _echo() as url, contextlib.ExitStack() as sides:
        env = {"DATABASE_URL": f"sqlite:///{directory}/hub.sqlite3", "HUB_VAR_DIR": directory, "HUB_SAGA_MODULES": SAGA_MODULE}
        on, off = (sides.enter_context(Side(env | {"HUB_TELEMETRY_ENABLED": str(enabled)}, url)) for enabled in (True, False))
        samples: dict[tuple[str, Side], list[float]] = {}
        for round_number in range(rounds + 1):
            for what in ("request", "step"):
                for side in (on, off) if round_number % 2 else (off, on):
                    took_ms = side.run(what, calls)
                    if round_number:  # the first round only warms up
                        samples.setdefault((what, side), []).append(took_ms)
        medians = {key: statistics.median(values) for key, values in samples.items()}
    return [Cost(what=what, on_ms=medians[what, on], off_ms=medians[what, off]) for what in ("request", "step")]


class Side:
    """A process that does the work, with telemetry or without, when it is told."""

    def __init__(self, env: Mapping[str, str], url: str) -> None:
        self._env, self._url = {**os.environ, **env, "HUB_NO_BOOTSTRAP": "1"}, url

    def __enter__(self) -> Side:
        command = [sys.executable, "-m", "hub.bench.telemetry", "work", self._url]
        self._process = subprocess.Popen(command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, what: str, calls: int) -> float:
        """Do `calls` pieces of work and return the milliseconds each took in the mean."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no input")
        self._process.stdin.write(json.dumps([what, calls]) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("a side of the benchmark ended early")
        return line


@contextlib.contextmanager
def _echo() -> Iterator[str]:
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _work(url: str) -> None:
    """Be a side: make ready, then do what each line of standard input asks, and print how long it took."""
    from hub.setup import ensure_django

    ensure_django()
    from django.core.management import call_command

    from registry_app import services as registry
    from registry_app.values import ServiceInfo

    call_command("migrate", verbosity=0, interactive=False)
    registry.register(ServiceInfo.create(SERVICE, "1.0", url))
    print("ready", flush=True)  # noqa: T201
    works: dict[str, Callable[[int], float]] = {"request": _requests, "step": _steps}
    for line in sys.stdin:
        what, calls = json.loads(line)
        print(works[what](calls), flush=True)  # noqa: T201


def _requests(calls: int) -> float:
    from hub.routing import services as routing

    began = time.perf_counter()
    for _ in range(calls):
        routing.route(SERVICE, "GET", "/")
    return (time.perf_counter() - began) * 1000 / calls


def _steps(calls: int) -> float:
    """Run the steps of one saga here, without a queue in between."""
    from hub.bench.sagas import bench_steps
    from sagas import engine, store
    from sagas.accept import Request, accept
    from sagas.catalog import find
    from sagas.states import Direction

    took, done = 0.0, 0
    while done < calls:
        row, _ = accept(find("bench_steps"), Request())
        began = time.perf_counter()
        for index in range(len(bench_steps.steps)):
            engine.perform(str(row.pk), index, Direction.DO)
        took += time.perf_counter() - began
        done += len(bench_steps.steps)
    if store.load(row.pk).run.status != "completed":
        raise RuntimeError("the saga did not complete: not the work was measured")
    return took * 1000 / done


def main() -> None:
    """Print what `measure` found."""
    for cost in measure():
        print(f"{cost.what}: {cost.on_ms:.2f} ms on, {cost.off_ms:.2f} ms off, ratio {cost.ratio:.2f}")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        _work(sys.argv[2])
    else:
        main()
