"""Do the numbers agree? Requests and sagas through several workers that are killed meanwhile, counted in four places.

    python -m tests.telemetry.counts --requests 1000 --sagas 200 --workers 4 --kills 3 [--database sqlite|postgres]

The client asks for each thing under an idempotency key of its own until it is answered, as a careful layer does. Then what
the client was told, the tables, the fleet's metrics and the spans are compared; the exit code is 0 when all agree.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "hub.settings"

from celery import Celery
from redis import Redis

from hub.testing import databases
from hub.testing.rig import Rig, wait_until

SERVICE, MODULES = "tree-target", ("tests.telemetry.saga_samples",)
PATIENCE_SEC, REQUEST_SEC = 8.0, 5.0
SETTLE_SEC = 240.0
IN_FLIGHT = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.telemetry.counts")
    for name, default in (("requests", 100), ("sagas", 20), ("workers", 2), ("kills", 1), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="hub-counts-") as scratch:
        return _run(asked, Path(scratch))


def _run(asked: Any, directory: Path) -> int:
    began = time.monotonic()
    with (
        databases.started(asked.database, directory) as database,
        Rig(directory, database_url=database.url, saga_modules=MODULES, workers=asked.workers) as rig,
    ):
        _register(_target())
        client = Client(rig.redis_url)
        client.want_all(asked.requests, asked.sagas)
        kills = _play(rig, client, asked.kills, random.Random(asked.seed))
        code = _compare(client, kills)
    print(f"took {time.monotonic() - began:.0f} s")
    return code


class _Answer(BaseHTTPRequestHandler):
    """Says yes to everything but ``/no``."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b"{}"
        self.send_response(404 if self.path == "/no" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: callers are killed on purpose."""


def _target() -> str:
    server = _Server(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def _register(url: str) -> None:
    from hub import ServiceInfo
    from registry_app import services

    services.register(ServiceInfo.create(SERVICE, "1.0", url))


@dataclass(slots=True)
class Wish:
    """One thing the client wants: asked for until it is answered; `answer` is Celery's own record of the result."""

    key: str
    task: str
    kwargs: dict[str, Any]
    message_id: str = ""
    asked_at: float = 0.0
    asks: int = 0
    answer: dict[str, Any] = field(default_factory=dict)


class Client:
    """A layer with nothing but Celery, which asks again under the same key for what is not answered in time."""

    def __init__(self, redis_url: str) -> None:
        self._app = Celery(broker=redis_url, set_as_current=False)  # answers are read from Redis by key
        self._redis = Redis.from_url(redis_url)
        self.requests: list[Wish] = []
        self.sagas: list[Wish] = []

    def want_all(self, requests: int, sagas: int) -> None:
        for number in range(requests):
            path = "/no" if number % 10 == 0 else "/yes"
            kwargs = {"service_name": SERVICE, "method": "GET", "path": path, "timeout": REQUEST_SEC}
            self.requests.append(Wish(f"request-{number}", "hub.requests.route", kwargs))
        for number in range(sagas):
            kwargs = {"saga_name": "counted", "context": {"refuse": number % 3 == 0}}
            self.sagas.append(Wish(f"saga-{number}", "hub.sagas.start", kwargs))

    def open(self) -> list[Wish]:
        """Return what is not answered, requests and sagas mixed as evenly as they come."""
        both = [wish for pair in zip(self.requests, self._spread(), strict=True) for wish in pair if wish is not None]
        return [wish for wish in both if not wish.answer]

    def _spread(self) -> list[Wish | None]:
        every = max(1, len(self.requests) // max(1, len(self.sagas)))
        return [self.sagas[n // every] if n % every == 0 and n // every < len(self.sagas) else None for n in range(len(self.requests))]

    def tick(self) -> int:
        """Read answers, ask for the next and again for what is overdue; return how many are answered."""
        waiting = self.open()
        for wish in waiting[: IN_FLIGHT * 4]:
            self._read(wish)
        free = IN_FLIGHT - sum(bool(wish.message_id) and not wish.answer for wish in waiting)
        for wish in [one for one in waiting if not one.answer]:
            if wish.message_id and time.monotonic() - wish.asked_at > PATIENCE_SEC:
                self._ask(wish)
            elif not wish.message_id and free > 0:
                self._ask(wish)
                free -= 1
        return len(self.requests) + len(self.sagas) - len(self.open())

    def _ask(self, wish: Wish) -> None:
        wish.asked_at, wish.asks = time.monotonic(), wish.asks + 1
        wish.message_id = self._app.send_task(wish.task, kwargs={**wish.kwargs, "idempotency_key": wish.key}, queue="hub").id

    def _read(self, wish: Wish) -> None:
        stored = self._redis.get(f"celery-task-meta-{wish.message_id}") if wish.message_id else None
        answer = json.loads(stored) if stored else {}
        # A claim whose process was killed holds the key for a while: that is no answer yet.
        if answer and not _is_for_later(answer):
            wish.answer = answer

    def ask_status(self, execution_id: str) -> str:
        """Return what the hub tells a layer of a saga."""
        wish = Wish(execution_id, "hub.sagas.status", {"execution_id": execution_id})
        wish.message_id = self._app.send_task(wish.task, kwargs=wish.kwargs, queue="hub").id
        wait_until(lambda: self._read(wish) or wish.answer, timeout_sec=60, what=f"the status of {execution_id}")
        return str(wish.answer["result"]["status"])


def _is_for_later(answer: dict[str, Any]) -> bool:
    return answer["status"] == "FAILURE" and "E11322" in str(answer["result"])


def _play(rig: Rig, client: Client, kills: int, chance: random.Random) -> list[str]:
    """Let the client have its way, and kill workers at even shares of it; return who was killed."""
    total, killed = len(client.requests) + len(client.sagas), list[str]()
    give_up_at = time.monotonic() + SETTLE_SEC + total / 5
    while (done := client.tick()) < total:
        if len(killed) < kills and done >= total * (len(killed) + 1) / (kills + 1):
            name = chance.choice([name for name in rig.processes if name.startswith("worker")])
            rig.processes[name].kill()
            killed.append(name)
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{total - done} of {total} are not answered")
        time.sleep(0.02)
    wait_until(lambda: _active() == 0, timeout_sec=SETTLE_SEC, what="the end of all sagas")
    wait_until(_is_booked, timeout_sec=60, what="all counts in the metrics")
    return killed


def _active() -> int:
    from sagas.models import SagaExecution
    from sagas.states import ACTIVE

    return SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE]).count()


def _is_booked() -> bool:
    from hub.telemetry import committed
    from hub.telemetry.models import CommittedCount

    committed.move()
    return not CommittedCount.objects.exists()


def _compare(client: Client, killed: list[str]) -> int:
    from hub.telemetry import metric_store

    metrics = metric_store.read(["hub_requests_total", "hub_request_duration_seconds", "hub_sagas_started_total", "hub_sagas_total"])
    lost = sum(one.value for one in metric_store.read(["hub_request_records_lost_total"])["hub_request_records_lost_total"])
    problems = [*_requests(client, metrics), *_sagas(client, metrics)]
    problems += [f"{lost:g} requests could not be recorded"] if lost else []
    again = sum(wish.asks > 1 for wish in [*client.requests, *client.sagas])
    print(f"killed: {', '.join(killed) or 'nobody'}; {again} asked for more than once")
    for problem in problems:
        print(f"DISAGREE {problem}")
    print("all agree" if not problems else f"{len(problems)} disagreements")
    return 1 if problems else 0


def _requests(client: Client, metrics: Any) -> list[str]:
    from hub.routing.models import RoutedRequest
    from hub.telemetry.models import Span

    rows = Counter(RoutedRequest.objects.values_list("method", "outcome"))
    counted = Counter({(one.labels["method"], one.labels["outcome"]): int(one.value) for one in metrics["hub_requests_total"]})
    durations = sum(one.count for one in metrics["hub_request_duration_seconds"])
    spans = Counter(
        name.split()[0] for name in Span.objects.filter(kind="client", attributes__has_key="hub.service").values_list("name", flat=True)
    )
    answered = Counter(wish.answer["status"] for wish in client.requests)
    asked_ok = {wish.key for wish in client.requests if wish.answer["status"] == "SUCCESS"}
    in_rows = set(RoutedRequest.objects.filter(method="GET", outcome="ok").values_list("idempotency_key", flat=True))
    by_method = Counter({method: sum(n for (m, _), n in rows.items() if m == method) for method in ("GET", "POST")})
    print(f"requests  client {dict(answered)} · rows {dict(rows)} · metrics {dict(counted)} · durations {durations} · spans {dict(spans)}")
    return [
        *_differ("requests: metrics and rows", dict(counted), dict(rows)),
        *_differ("requests: durations and rows", durations, rows.total()),
        *_differ("requests: spans and rows", dict(spans), dict(by_method)),
        *_differ("requests: keys that the client had answered well and keys of rows", asked_ok, in_rows),
    ]


def _sagas(client: Client, metrics: Any) -> list[str]:
    from hub.telemetry.models import Span
    from sagas.models import SagaExecution

    told = {wish.answer["result"]["execution_id"] for wish in client.sagas}
    client_says = Counter(client.ask_status(one) for one in sorted(told))
    rows = Counter(SagaExecution.objects.values_list("status", flat=True))
    ended = Counter({one.labels["status"]: int(one.value) for one in metrics["hub_sagas_total"]})
    started = sum(int(one.value) for one in metrics["hub_sagas_started_total"])
    spans = Span.objects.filter(name="saga counted").count()
    print(f"sagas     client {dict(client_says)} · rows {dict(rows)} · metrics {dict(ended)}, started {started} · spans {spans}")
    return [
        *_differ("sagas: what the client is told and rows", dict(client_says), dict(rows)),
        *_differ("sagas: metrics and rows", dict(ended), dict(rows)),
        *_differ("sagas: started and rows", started, rows.total()),
        *_differ("sagas: spans and rows", spans, rows.total()),
        *_differ("sagas: ids told and wishes", len(told), len(client.sagas)),
    ]


def _differ(what: str, one: Any, other: Any) -> list[str]:
    return [] if one == other else [f"{what}: {one} != {other}"]


if __name__ == "__main__":
    sys.exit(main())
