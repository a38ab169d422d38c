"""Fixtures for all rooms: real workers on the test database and the run's own Redis.

    @pytest.mark.django_db(transaction=True)
    def test_a_route_comes_back(worker):
        result = app.send_task("hub.requests.route", kwargs={...}, queue="hub").get(timeout=10)

A worker is another process: a test that uses one needs `transactional_db` (or the mark above), because only committed
rows are seen over there. Tables are emptied after each such test; let what you started come to its end first.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import TransactionTestCase
from pytest_django.plugin import blocking_manager_key

from hub.celery import app
from hub.telemetry import tracing
from tests.own_redis import OwnRedis
from tests.processes import SESSION, Worker, be_alone, empty_tables, hub_environment

ALL_QUEUES = "hub,hub.sagas,hub.events,hub.control"
LONGEST = (
    "chaos/test_lost_processes.py",
    "chaos/test_layer_steps.py",
    "registry/test_processes.py",
    "browser/test_console.py",
    "circuits/test_lost_redis.py",
    "console/test_up.py",
    "sagas/test_step_kinds.py",
    "circuits/test_fleet.py",
    "console/test_health.py",
    "sagas/test_simulation.py",
    "acceptance/test_plain_celery.py",
    "console/test_bulk.py",
)
"""Files of 20 s and more begin first, so that none of them is left alone at the end."""
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)  # before anything is chosen by its marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, mark what touches the database, and skip what needs a Docker engine where there is none."""
    for item in items:
        if item.get_closest_marker("django_db") or "django_db_setup" in getattr(item, "fixturenames", ()):
            item.add_marker("database")
    items.sort(key=lambda item: not item.nodeid.split("::")[0].endswith(LONGEST))
    wanting = [item for item in items if item.get_closest_marker("docker")]
    if not wanting or _docker_answers():
        return
    for item in wanting:
        item.add_marker(pytest.mark.skip(reason="no Docker engine answers on this machine"))


def _docker_answers() -> bool:
    import docker

    try:
        return bool(docker.from_env(timeout=2).ping())
    except docker.errors.DockerException:
        return False


def _start(app: str, queues: str, concurrency: int, env: dict[str, str] | None, *, pool: str = "prefork") -> Worker:
    name = f"{app.rsplit('.', 1)[-1]}-{os.getpid()}-{next(_numbers)}"
    log_path = settings.HUB.var_dir / "log" / f"{name}.log"
    return Worker(app, queues, name=name, concurrency=concurrency, env=hub_environment(env), log_path=log_path, pool=pool)


def _empty_tables(case: TransactionTestCase, *, tries: int = 5) -> None:
    """Empty the tables after a test; on Postgres a worker that still writes may lock them the other way round, and ends soon."""
    for left in reversed(range(tries)):
        try:
            return empty_tables()
        except OperationalError as exc:
            if not left or "deadlock" not in str(exc):
                raise
            time.sleep(0.5)


TransactionTestCase._fixture_teardown = _empty_tables


@pytest.fixture(autouse=True)
def _no_spans_of_others() -> None:
    """Spans wait in this process until they are written; those of earlier tests are nobody's business here."""
    tracing.pipeline()._queue.clear()


@pytest.fixture(autouse=True, scope="session")
def _producers_of_the_run() -> None:
    """Celery keeps the address with which it sends first: that must not be a Redis of one test, which ends with it."""
    app.amqp.producer_pool  # noqa: B018


@pytest.fixture(scope="session")
def _session_worker(django_db_setup: None) -> Iterator[Worker]:
    running = _start("hub", ALL_QUEUES, 2, None)
    SESSION.append(running)
    yield running
    running.kill()  # a warm shutdown takes three seconds and nobody reads its result


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End the run's processes before the test's transaction begins, for a test that wants to be alone."""
    wanted = set(getattr(item, "fixturenames", ()))
    if "no_worker" in wanted or ("no_worker_unless_asked" in wanted and "worker" not in wanted):
        be_alone(item.config.stash[blocking_manager_key])


@pytest.fixture
def no_worker() -> None:
    """End the run's worker and sweeper, if they are there: for tests in which nobody else may move rows or messages."""


@pytest.fixture
def no_worker_unless_asked() -> None:
    """Be alone as `no_worker` does it, save for a test that asks for the `worker`: for the rooms' autouse fixtures."""


@pytest.fixture
def worker(_session_worker: Worker) -> Worker:
    """A `celery -A hub worker -c 2` of all four queues, one for the whole run, started again if a test ended it.

    It works on the test database and on `settings.REDIS_URL`, and knows the sagas of every `tests/<room>/saga_samples.py`.
    Use it with `transactional_db`. `worker.log()` is what it wrote. To kill a worker, start your own: `start_worker`.
    """
    if not _session_worker.is_alive():
        _session_worker.kill()
        _session_worker.start()
    return _session_worker


@pytest.fixture
def start_worker(django_db_setup: None) -> Iterator[Callable[..., Worker]]:
    """Start workers of the hub that end with the test: `start_worker(queues="hub.sagas", concurrency=1, env={...})`.

    Each has `.kill()` (SIGKILL to it and its children), `.stop()`, `.signal(number)`, `.start()` (again), `.log()`, `.pid`, `.node`.
    """
    started: list[Worker] = []

    def start(*, queues: str = ALL_QUEUES, concurrency: int = 2, env: dict[str, str] | None = None, pool: str = "prefork") -> Worker:
        started.append(_start("hub", queues, concurrency, env, pool=pool))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def layer_worker() -> Iterator[Callable[..., Worker]]:
    """Start a layer's own Celery worker that ends with the test: `layer_worker("demo.tools", "l03")`.

    `module` holds a Celery app that reads its broker from `BROKER_URL`, as a layer without the hub's package would have it.
    """
    started: list[Worker] = []

    def start(module: str, queue: str, *, concurrency: int = 1, env: dict[str, str] | None = None) -> Worker:
        started.append(_start(module, queue, concurrency, env))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def own_redis(tmp_path, settings):
    """A Redis that the test may `stop()`, `start()`, `restart()`, `freeze()` and `thaw()`."""
    server = OwnRedis(tmp_path / "redis")
    settings.REDIS_URL = f"redis://127.0.0.1:{server.port}/0"
    yield server
    server.stop()
