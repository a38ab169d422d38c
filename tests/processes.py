"""Real processes for tests: Celery workers in process groups of their own, with a log that a test can read."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection
from django.db.models import Model
from pytest_django import DjangoDbBlocker

from hub.redis_client import client
from sagas.recovery import SWEEPING_KEY

ROOT = Path(__file__).resolve().parent.parent
FILLED_BY_MIGRATIONS = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "django_migrations"}
START_TIMEOUT_SEC = 60.0
STOP_TIMEOUT_SEC = 15.0
T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, timeout_sec: float = 10.0, what: str = "the condition") -> T:
    """Ask every 50 ms until the answer is true and return it; fail with `what` when the time is over."""
    give_up_at = time.monotonic() + timeout_sec
    while time.monotonic() < give_up_at:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {timeout_sec:g} s")


def test_database_url() -> str:
    """Return the address of the database that pytest-django made for this run, for a process of its own."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    user, password, host = (quote(str(database[key]), safe="") for key in ("USER", "PASSWORD", "HOST"))
    return f"postgres://{user}:{password}@{host}:{database['PORT']}/{database['NAME']}"


test_database_url.__test__ = False  # a helper, though its name begins like a test


def hub_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which a process of the hub shares this run's database, Redis and ``var/``."""
    DATABASE_SHARED[:] = [test_database_url()]
    own = {
        "DJANGO_SETTINGS_MODULE": "hub.settings",
        "DATABASE_URL": DATABASE_SHARED[0],
        "REDIS_URL": settings.REDIS_URL,
        "BROKER_URL": settings.REDIS_URL,
        "HUB_VAR_DIR": str(settings.HUB.var_dir),
        "HUB_NO_BOOTSTRAP": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return os.environ | own | dict(extra or {})


DATABASE_SHARED: list[str] = []
"""The test database, once a process of its own was told of it."""

SESSION: list[LoggedProcess] = []
"""The worker and the sweeper that serve a whole run: `no_worker` ends them, their fixtures start them again."""


class LoggedProcess:
    """A process with a group of its own (so that its children end with it) and its output in a file."""

    def __init__(self, name: str, command: list[str], *, env: Mapping[str, str], log_path: Path) -> None:
        self.name, self.command, self.env, self.log_path = name, command, dict(env), log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it, or start it again after it ended; the log goes on."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def log(self) -> str:
        """Return all it wrote so far."""
        return self.log_path.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the process itself, not to its children."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it and all its children at once, as a power cut would."""
        self._signal_group(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_SEC)

    def stop(self) -> int:
        """Ask it to end, wait, end what is left, and return its exit code."""
        if self.is_alive():
            self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT_SEC)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.kill()

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def be_alone(blocker: DjangoDbBlocker) -> None:
    """End what serves the whole run, and empty the tables of what any process wrote after the test it served had ended.

    Not within a test's transaction: what is deleted there comes back with the rollback. A sweeper killed in the middle of
    a sweep would otherwise count as sweeping for four seconds more.
    """
    for process in SESSION:
        if process.is_alive():
            process.kill()
    client().delete(SWEEPING_KEY)
    if not DATABASE_SHARED:
        return  # nobody else ever wrote, and the test database may not be there yet
    with blocker.unblock():
        if any(model.objects.exists() for model in _hub_models()):
            empty_tables()
        connection.close()


def empty_tables() -> None:
    """Empty all tables but those that migrations filled: to make what is in these anew takes four times as long as all the rest."""
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables - FILLED_BY_MIGRATIONS)))


def _hub_models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model.__module__.split(".")[0] in ("hub", "registry_app", "sagas")]


class Worker(LoggedProcess):
    """A Celery worker; ready when it answers a ping over the broker."""

    def __init__(
        self, app: str, queues: str, *, name: str, concurrency: int, env: Mapping[str, str], log_path: Path, pool: str = "prefork"
    ) -> None:
        self.node = f"{name}@test"
        self.broker_url = env["BROKER_URL"]
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", self.node, "-Q", queues, "-P", pool, "-c", str(concurrency)]
        # Mingling waits a second for answers of other workers.
        super().__init__(name, [*command, "-l", "INFO", "--without-mingle"], env=env, log_path=log_path)

    def start(self) -> None:
        super().start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the worker answers; fail with its log when it ended or is not there in time."""
        wait_until(lambda: not self.is_alive() or self.answers(), timeout_sec=START_TIMEOUT_SEC, what=f"worker {self.name} ready")
        assert self.is_alive(), f"worker {self.name} ended at its start:\n{self.log()[-4000:]}"

    def answers(self, *, timeout_sec: float = 0.5) -> bool:
        """Return whether it answers a ping within that time, over a connection of its own: a pooled one may be of an earlier broker."""
        with Celery(broker=self.broker_url, set_as_current=False) as app, app.connection_for_write() as connection:
            return bool(app.control.ping(destination=[self.node], timeout=timeout_sec, connection=connection))
