import pytest
from django.contrib.auth.models import User

from hub.redis_client import client as redis_client
from hub.telemetry import metrics


@pytest.fixture(autouse=True)
def _empty_redis(no_worker):
    redis_client().flushdb()
    yield
    metrics.flush()


@pytest.fixture
def page(client):
    """A browser of somebody who may everything."""
    client.force_login(User.objects.create_superuser("ann"))
    return client
