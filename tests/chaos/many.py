"""Let many runs of one saga go, so many at a time, and wait until all of them have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

AT_ONCE = 40
LOOK_SEC = 0.2


def run_all(
    saga_name: str,
    contexts: Iterable[Mapping[str, Any]],
    *,
    timeout_sec: float,
    at_once: int = AT_ONCE,
    look: Callable[[], Any] = lambda: None,
) -> dict[str, str]:
    """Return the status of each run by its id, as it is when all have ended or the time is over; `look` is called meanwhile."""
    waiting, ids, give_up_at = list(contexts), list[str](), time.monotonic() + timeout_sec
    while time.monotonic() < give_up_at:
        active = _active(ids)
        if not waiting and not active:
            break
        for _ in range(min(len(waiting), at_once - active)):
            ids.append(_start(saga_name, waiting.pop()))
        look()
        time.sleep(LOOK_SEC)
    return _statuses()


def _start(saga_name: str, context: Mapping[str, Any]) -> str:
    from sagas import services

    return str(services.start(saga_name, dict(context))["execution_id"])


def _active(ids: list[str]) -> int:
    from sagas.models import SagaExecution
    from sagas.states import ACTIVE

    return SagaExecution.objects.filter(status__in=[status.value for status in ACTIVE]).count() if ids else 0


def _statuses() -> dict[str, str]:
    from sagas.models import SagaExecution

    return {str(pk): status for pk, status in SagaExecution.objects.values_list("pk", "status")}
