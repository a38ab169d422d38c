"""Routed requests: ours, a plain Celery task that fetches, and bare requests without any queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from celery import group
from celery.result import AsyncResult

from hub.bench import measure, plain
from hub.bench.figures import Sample
from hub.bench.stage import Stage
from hub.celery import app
from registry_app import services as registry
from registry_app.values import ServiceInfo

REQUESTS, AT_ONCE, ONE_BY_ONE, THREADS = 400, 50, 60, 16
BROADCAST_TO, BROADCAST_MS, BROADCASTS, PATIENCE_SEC = 50, 20, 8, 30


def routed(stage: Stage) -> Sample:
    """Requests through the queue `hub`, fifty outstanding, all answers fetched."""
    prepare(stage)
    return measure.rate(stage, lambda: outstanding(send, REQUESTS))


def fetched(stage: Stage) -> Sample:
    """The same through a plain Celery task with the result backend."""
    stage.plain()
    url = stage.target() + "/"
    return measure.rate(stage, lambda: outstanding(lambda: plain.get.delay(url), REQUESTS))


def outstanding(send_one: Callable[[], Any], number: int) -> int:
    """Have fifty under way until all were sent, and fetch every answer."""
    waiting = [_expected(send_one()) for _ in range(min(AT_ONCE, number))]
    for _ in range(number - len(waiting)):
        waiting.pop(0).get(timeout=PATIENCE_SEC)
        waiting.append(_expected(send_one()))
    for result in waiting:
        result.get(timeout=PATIENCE_SEC)
    return number


def _expected(result: AsyncResult) -> AsyncResult:
    """Have Celery know the result from now on: what comes while another is waited for is otherwise seen a second late."""
    result.then(lambda _: None)
    return result


def bare_threads(stage: Stage) -> Sample:
    """The same with a pooled session in sixteen threads of this process."""
    session, url = _session(), stage.target() + "/"

    def work() -> int:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda _: session.get(url, timeout=10).json(), range(REQUESTS)))
        return REQUESTS

    return measure.rate(stage, work)


def routed_one(stage: Stage) -> Sample:
    """Requests through the queue, one at a time."""
    prepare(stage)
    return measure.latency(stage, lambda: send().get(timeout=PATIENCE_SEC), times=ONE_BY_ONE)


def fetched_one(stage: Stage) -> Sample:
    """A plain Celery task, one at a time."""
    stage.plain()
    url = stage.target() + "/"
    return measure.latency(stage, lambda: plain.get.delay(url).get(timeout=PATIENCE_SEC), times=ONE_BY_ONE)


def bare_one(stage: Stage) -> Sample:
    """A pooled session, one at a time."""
    session, url = _session(), stage.target() + "/"
    return measure.latency(stage, lambda: session.get(url, timeout=10).json(), times=ONE_BY_ONE * 5)


def broadcast(stage: Stage) -> Sample:
    """One request to fifty services that each take 20 ms."""
    prepare(stage)
    names, path = [f"bench_{number}" for number in range(BROADCAST_TO)], f"/sleep/{BROADCAST_MS}"
    if not stage.kept.get("fifty"):
        for name in names:
            registry.register(ServiceInfo.create(name, "1.0.0", stage.target()))
        stage.kept["fifty"] = True
    kwargs = {"service_names": names, "method": "GET", "path": path, "timeout": PATIENCE_SEC}
    return measure.latency(stage, lambda: _ask("hub.requests.broadcast", kwargs).get(timeout=PATIENCE_SEC), times=BROADCASTS, warm_up=2)


def group_get(stage: Stage) -> Sample:
    """Fifty plain tasks as a group, the results fetched by ``get()``."""
    stage.plain()
    url = f"{stage.target()}/sleep/{BROADCAST_MS}"

    def once() -> None:
        group(plain.get.si(url) for _ in range(BROADCAST_TO)).apply_async().get(timeout=PATIENCE_SEC)

    return measure.latency(stage, once, times=BROADCASTS, warm_up=1)


def gathered(stage: Stage) -> Sample:
    """Fifty requests by aiohttp, gathered, without any queue."""
    return stage.rivals.run("aiohttp_gather", f"{stage.target()}/sleep/{BROADCAST_MS}", str(BROADCAST_TO), str(BROADCASTS))


def prepare(stage: Stage, *, pool: str = "prefork") -> None:
    """Have the hub's worker running and the service `bench` known to it."""
    stage.hub(pool)
    if not stage.kept.get("registered"):
        registry.register(ServiceInfo.create("bench", "1.0.0", stage.target()))
        send().get(timeout=PATIENCE_SEC)
        time.sleep(measure.SETTLE_SEC)
        stage.kept["registered"] = True


def send(path: str = "/") -> Any:
    """Send one request through the queue; its answer is to be fetched."""
    return _ask("hub.requests.route", {"service_name": "bench", "method": "GET", "path": path})


def _ask(task: str, kwargs: Mapping[str, Any]) -> Any:
    return app.send_task(task, kwargs=dict(kwargs), queue="hub")


def _session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=THREADS, pool_maxsize=THREADS))
    return session


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "routed": routed,
    "fetched by a task": fetched,
    "requests in threads": bare_threads,
    "routed, one at a time": routed_one,
    "fetched by a task, one at a time": fetched_one,
    "requests, one at a time": bare_one,
    "broadcast": broadcast,
    "group().get()": group_get,
    "aiohttp.gather": gathered,
}
