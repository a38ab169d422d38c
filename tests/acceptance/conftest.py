"""Here pytest-celery's clusters are local processes; the overrides must stand in a conftest to come before the plug-in's own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_celery import CeleryTestBackend, CeleryTestBroker

from hub.celery import app as hub_app
from hub.embedded import free_port
from tests.acceptance.local_nodes import HubWorkerNode, LocalRedis, LocalWorkerProcess
from tests.conftest import ALL_QUEUES
from tests.processes import Worker, hub_environment


@pytest.fixture
def local_redis(tmp_path) -> Iterator[LocalRedis]:
    """A Redis of the test's own, which it may kill and restart."""
    node = LocalRedis(tmp_path / "redis", free_port())
    yield node
    gc.collect()  # a result that dies after its backend would look for it for twenty seconds
    node.teardown()


@pytest.fixture
def celery_broker(local_redis: LocalRedis) -> CeleryTestBroker:
    return CeleryTestBroker(local_redis)


@pytest.fixture
def celery_backend(local_redis: LocalRedis) -> CeleryTestBackend:
    return CeleryTestBackend(local_redis)


@pytest.fixture
def celery_worker(transactional_db: None, local_redis: LocalRedis, celery_setup_app: Any, tmp_path) -> Iterator[HubWorkerNode]:
    url = local_redis.celeryconfig["url"]
    env = hub_environment({"REDIS_URL": url, "BROKER_URL": url})
    process = Worker("hub", ALL_QUEUES, name="hub-under-test", concurrency=2, env=env, log_path=tmp_path / "worker.log")
    node = HubWorkerNode(LocalWorkerProcess(process), celery_setup_app)
    yield node
    node.teardown()


@pytest.fixture(autouse=True)
def hub_stays_the_current_app() -> Iterator[None]:
    """pytest-celery makes its own app the current one; what runs after it in this process expects the hub's."""
    yield
    hub_app.set_current()
