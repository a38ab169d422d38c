"""A service that floods, unfolds, drips or hangs ends with its code, in time, and leaves a worker's memory as it was."""

from pathlib import Path

import pytest
from celery import Celery
from django.conf import settings

from hub.routing.models import RoutedRequest
from tests.routing.memory import Peaks

FLOODS = {"/huge": "E11361", "/endless": "E11361", "/bomb": "E11362", "/endless-header": "E11348", "/reset": "E11343"}
SLOW = {"/drip": "E11342", "/drip-headers": "E11342", "/hang": "E11342"}
FLOOD_SEC, SLOW_SEC, GRACE_SEC = 20.0, 1.5, 3.0
MAX_GROWTH_KB = 60_000
"""A fifth of what the smallest flood would take."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from Linux' /proc")
@pytest.mark.django_db(transaction=True)
def test_the_memory_of_a_worker_stays_flat(worker, target, register):
    client, peaks = Celery(broker=settings.REDIS_URL, backend=settings.REDIS_URL), Peaks(worker)

    def ask(path, timeout_sec=30.0):
        # A name for each, so that no breaker stands before the next.
        kwargs = {"service_name": register(target.url), "method": "POST", "path": path, "timeout": timeout_sec}
        return client.send_task("hub.requests.route", kwargs=kwargs, queue="hub")

    for warm_up in [ask("/x") for _ in range(6)]:
        warm_up.get(timeout=60)
    peaks.begin()

    for path, code in (FLOODS | SLOW).items():
        with pytest.raises(Exception, match=f"^{code}: "):
            ask(path, SLOW_SEC if path in SLOW else FLOOD_SEC).get(timeout=60)

    assert all(kb < MAX_GROWTH_KB for kb in peaks.grown().values()), peaks.grown()
    assert RoutedRequest.objects.exclude(outcome="ok").count() == len(FLOODS | SLOW)
    slow = RoutedRequest.objects.filter(path__in=SLOW)
    assert all(row.duration_ms < 1000 * (SLOW_SEC + GRACE_SEC) for row in slow)
