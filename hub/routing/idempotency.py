"""The same idempotency key means the same request: it is sent once, and everybody gets its answer.

claimed    a request under this key is under way, until its lease ends
answered   it had a good answer, which is kept
failed     it had none; whoever comes next with the same request sends it again, under the same key
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from hub import database_clock, pruning
from hub.errors import ErrorCode, IntegrationError
from hub.routing.attempts import Run
from hub.routing.models import KeptAnswer
from hub.routing.request import Request

log = logging.getLogger(__name__)

LEASE_GRACE_SEC = 2.0
FIRST_LOOK_SEC, LONGEST_LOOK_SEC = 0.02, 0.5
Status = KeptAnswer.Status


def claim(run: Run, *, sleep: Callable[[float], None] = time.sleep) -> KeptAnswer | None:
    """Return the kept answer of this request, or None when it is this run's to send.

    While another one sends it, wait for its answer as long as the deadline allows.
    Errors: E11321 the key was used for another request, E11322 the other one is still under way.
    """
    look_sec = FIRST_LOOK_SEC
    while True:
        row = _take(run)
        if row is None or row.status == Status.ANSWERED:
            return row
        left = run.deadline - time.monotonic() - look_sec
        if left <= 0:
            raise IntegrationError(
                ErrorCode.REQUEST_IN_PROGRESS,
                f"a request with the key {run.request.idempotency_key} is under way",
                recovery_suggestion="ask again with the same key",
            )
        sleep(look_sec)
        look_sec = min(look_sec * 2, LONGEST_LOOK_SEC)


def keep(run: Run, answer: dict[str, Any] | None) -> None:
    """Keep the answer of the request that this run claimed; None lets the next one send it again."""
    # A good answer is one whoever holds the claim by now; a failure frees only what is still ours.
    mine = Q() if answer is not None else Q(lease_until=run.claimed_until)
    status = Status.FAILED if answer is None else Status.ANSWERED
    try:
        with transaction.atomic():
            _rows(run.request).filter(mine, status=Status.CLAIMED).update(status=status, answer=answer, lease_until=None)
    except DatabaseError:
        # The answer is there and must reach its caller; the lease lets the key go by itself.
        log.exception("an answer could not be kept", extra={"service": run.request.service_name, "key": run.request.idempotency_key})


def expired() -> pruning.Expired:
    """Return the answers beyond their retention."""
    before = timezone.now() - timedelta(hours=settings.HUB.request_key_hours)
    return {"kept_answers": KeptAnswer.objects.filter(created_at__lt=before).order_by("created_at")}


def prune() -> int:
    """Delete answers beyond their retention; return how many."""
    return sum(pruning.delete_all(expired()).values())


def _take(run: Run) -> KeptAnswer | None:
    """Claim the key, or return the row of whoever has it."""
    request, now = run.request, database_clock.moment()
    run.claimed_until = now + timedelta(seconds=max(0.0, run.deadline - time.monotonic()) + LEASE_GRACE_SEC)
    if _insert(request, run.claimed_until):
        return None
    row = _rows(request).first()
    if row is None:
        return _take(run)  # pruned between the two statements
    if row.fingerprint != request.fingerprint:
        raise IntegrationError(
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            f"the key {request.idempotency_key} was used for another request to {request.service_name}",
            recovery_suggestion="use a new key for a new request",
        )
    free = Q(status=Status.FAILED) | Q(status=Status.CLAIMED, lease_until__lt=now)
    # Its retention begins anew: a row that ends while its request is under way lets another one be sent beside it.
    mine = {"status": Status.CLAIMED, "lease_until": run.claimed_until, "created_at": now}
    won = row.status != Status.ANSWERED and _rows(request).filter(free).update(**mine) == 1
    return None if won else row


def _insert(request: Request, lease_until: datetime) -> bool:
    try:
        with transaction.atomic():
            KeptAnswer.objects.create(
                service_name=request.service_name,
                key=request.idempotency_key,
                fingerprint=request.fingerprint,
                status=Status.CLAIMED,
                lease_until=lease_until,
            )
    except IntegrityError:
        return False
    return True


def _rows(request: Request) -> models.QuerySet[KeptAnswer]:
    return KeptAnswer.objects.filter(service_name=request.service_name, key=request.idempotency_key)
