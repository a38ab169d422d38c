import pytest

from hub.redis_client import client
from hub.telemetry import metrics


@pytest.fixture(autouse=True)
def _empty_redis(no_worker):
    client().flushdb()
    yield
    metrics.flush()
