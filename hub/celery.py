"""The Celery app: queues, limits, and the settings that the hub's promises rest on."""

from __future__ import annotations

import os
import random
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from celery import Celery
from celery.app import trace
from celery.signals import task_prerun
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")

from django.conf import settings
from django.db import DatabaseError, connection, connections

from hub.awake import WakeLoop
from hub.gathered_events import GatherEvents
from hub.pool import OwnPool
from hub.unreadable import PutAside
from hub.unrecoverable import EndForGood

SAGA_LINKS = ("step", "undo", "begin", "finish", "failed", "child_ended", "cancel_child")
PUBLIC, SAGAS, EVENTS, CONTROL = QUEUES = "hub", "hub.sagas", "hub.events", "hub.control"

# A frozen Redis (not a refusing one) blocks a publisher for ever without these.
_SOCKET: dict[str, Any] = {"socket_timeout": 5, "socket_connect_timeout": 2, "socket_keepalive": True, "health_check_interval": 10}

DATABASE_PATIENCE_SEC = 5.0

_ROOMS = ("hub.telemetry", "hub.events", "hub.circuits", "registry_app", "hub.routing", "sagas", "hub.console")


def _beat_schedule() -> dict[str, Any]:
    """Return what each room's ``schedule.py`` asks beat to send."""
    found = [f"{room}.schedule" for room in _ROOMS if find_spec(f"{room}.schedule")]
    return {name: entry for module in found for name, entry in import_module(module).BEAT.items()}


class _OwnRedis(Celery):  # type: ignore[misc]  # Celery has no types
    """Goes to REDIS_URL alone: for Celery what BROKER_URL or CELERY_BROKER_URL says, to whichever program, goes before any setting."""

    @property
    def backend_cls(self) -> str:
        return str(settings.REDIS_URL)

    def connection(self, hostname: str | None = None, **options: Any) -> Any:
        return super().connection(hostname or settings.REDIS_URL, **options)

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_read(url or settings.REDIS_URL, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        return super().connection_for_write(url or settings.REDIS_URL, **options)


# Announcements of sent tasks, which Flower shows, would carry their arguments as they are.
app = _OwnRedis("hub", amqp="hub.telemetry.amqp:RedactingAMQP", events="hub.telemetry.amqp:RedactingEvents")
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"visibility_timeout": 3600, **_SOCKET},
    redis_socket_timeout=5,
    redis_socket_connect_timeout=2,
    redis_retry_on_timeout=True,
    result_expires=3600,
    # The row is the truth and the sweeper sends again what was lost, so a publisher never waits for a broker.
    task_publish_retry_policy={"max_retries": 0},
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_accept_content=["json"],
    # Early ack and prefetch 1: a lease in the database re-drives lost work, the broker's own redelivery would double it.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    task_send_sent_event=True,
    worker_max_tasks_per_child=2000,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_default_queue=PUBLIC,
    task_queues=[Queue(name) for name in QUEUES],
    task_routes={
        **{f"hub.sagas.{link}": {"queue": SAGAS} for link in SAGA_LINKS},
        "hub.events.deliver": {"queue": EVENTS},
        "hub.control.*": {"queue": CONTROL},
        "hub.*": {"queue": PUBLIC},
    },
    beat_scheduler="hub.console.beat_schedule:WrittenSchedule",
    beat_schedule=_beat_schedule(),
    beat_max_loop_interval=1,
    timezone="UTC",
)
app.loader.override_backends = dict.fromkeys(("redis", "rediss"), "hub.results:ResultBackend")
# Celery's own line would end with the result: an answer of a layer, in a log.
trace.LOG_SUCCESS = "Task %(name)s[%(id)s] succeeded in %(runtime)ss"
# The worker's Django fixup closes the connection around every task unless told how often it may be reused.
app.conf.CELERY_DB_REUSE_MAX = 10_000


def _drop_broken_connections(**_: Any) -> None:
    """Let no task inherit a connection on which another failed: after a restart of the database it stays dead for good."""
    for one in connections.all(initialized_only=True):
        if one.errors_occurred:
            one.close_if_unusable_or_obsolete()


def _await_database(**_: Any) -> None:
    """Hold a task for a moment while the database is away, rather than fail it.

    To fail is quicker than to work: a worker that alone is cut off would take most of the messages from those that are well.
    """
    give_up_at = time.monotonic() + DATABASE_PATIENCE_SEC
    while connection.connection is None:
        try:
            connection.ensure_connection()
        except DatabaseError:
            if time.monotonic() >= give_up_at:
                return  # the task itself says so, with a code
            time.sleep(random.uniform(0.2, 0.6))  # noqa: S311  (jitter)


task_prerun.connect(_drop_broken_connections)
task_prerun.connect(_await_database)
app.steps["worker"].update((EndForGood, OwnPool))
app.steps["consumer"].update((GatherEvents, PutAside, WakeLoop))
app.autodiscover_tasks()
