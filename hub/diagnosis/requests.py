"""What became of this request? Look where a request can be: among the ended, under a claimed key, in the queue, in a result."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import redis
from django.conf import settings
from django.db.models import Q

from hub.celery import PUBLIC
from hub.diagnosis import queues
from hub.diagnosis.facts import RequestFacts
from hub.diagnosis.rules import Why, why_request
from hub.errors import ErrorCode, IntegrationError
from hub.redis_client import client
from hub.routing.models import KeptAnswer, RoutedRequest
from hub.telemetry import queues as broker
from hub.telemetry.celery_headers import SENT_AT

SCANNED = 1_000
"""So many messages of each priority are looked through, the next to be read first."""


def why(identifier: str) -> Why:
    """Return what is known of a request by its Celery task id, trace id, correlation id or idempotency key.

    Errors: E11920 nothing is known of it; E11941 the database knows nothing of it, and Redis could not be asked.
    """
    facts, unread = _recorded(identifier), None
    try:
        facts = _with_redis(facts, identifier)
    except redis.RedisError as exc:
        unread = exc
    told = why_request(facts)
    if told is None:
        raise (_unread(identifier) if unread else _unknown(identifier)) from unread
    return told


def _unread(identifier: str) -> IntegrationError:
    return IntegrationError(
        ErrorCode.BROKER_UNAVAILABLE,
        f"there is no record of {identifier!r}, and whether it waits in a queue cannot be seen: Redis does not answer",
        recovery_suggestion="start Redis, or correct REDIS_URL",
    )


def _unknown(identifier: str) -> IntegrationError:
    hub = settings.HUB
    kept = f"(requests are kept for {hub.request_retention_days} days, sagas for {hub.saga_retention_days})"
    return IntegrationError(
        ErrorCode.NOT_FOUND,
        f"nothing is known of {identifier!r}: it waits in no queue and has left no record",
        recovery_suggestion=f"it is mistyped, or older than what is kept {kept}, or a worker has it at this moment or was killed with it: "
        "sent again under the same idempotency key, a request is done once",
    )


def _recorded(identifier: str) -> RequestFacts:
    ended = _ended(identifier)
    claim = KeptAnswer.objects.filter(key=identifier, status=KeptAnswer.Status.CLAIMED).order_by("-pk").first()
    return RequestFacts(
        now=time.time(),
        ended=_words(ended) if ended else "",
        ended_at=ended.created_at.timestamp() if ended else None,
        claimed_until=claim.lease_until.timestamp() if claim and claim.lease_until else None,
    )


def _with_redis(facts: RequestFacts, identifier: str) -> RequestFacts:
    place, message = _in_queue(identifier)
    sent_at = message.get(SENT_AT)
    return replace(
        facts,
        place_in_queue=place,
        sent_at=sent_at if isinstance(sent_at, int | float) else None,
        queue=queues.facts_of(PUBLIC) if place else None,
        result=_result(identifier),
    )


def _ended(identifier: str) -> RoutedRequest | None:
    known = Q(trace_id=identifier) | Q(correlation_id=identifier)
    newest = RoutedRequest.objects.filter(known).order_by("-id").first()
    kept = KeptAnswer.objects.filter(key=identifier).exclude(status=KeptAnswer.Status.CLAIMED).order_by("-pk").first()
    if newest is not None or kept is None:
        return newest
    # The history has no index by key: the service of the kept answer has.
    return RoutedRequest.objects.filter(service_name=kept.service_name, idempotency_key=identifier).order_by("-id").first()


def _words(row: RoutedRequest) -> str:
    answer = f"{row.status_code or ''} {row.code}".strip() or row.outcome
    return f"{row.method} {row.service_name}{row.path}: {answer} ({row.get_outcome_display()}) after {row.duration_ms:g} ms"


def _in_queue(identifier: str) -> tuple[int | None, dict[str, Any]]:
    """Return the place of a request's message in the queue, 1 being the next, and its headers."""
    for place, headers in enumerate(_headers(_waiting()), 1):
        if identifier in (headers.get("id"), headers.get("x-correlation-id"), str(headers.get("traceparent") or "")[3:35]):
            return place, headers
    return None, {}


def _waiting() -> Iterator[str]:
    """Yield the messages of the queue in the order in which workers read its lists of priority."""
    with client().pipeline(transaction=False) as pipe:
        for key in broker.keys_of(PUBLIC):
            pipe.lrange(key, -SCANNED, -1)
        for texts in pipe.execute():
            yield from reversed(texts)


def _headers(texts: Iterator[str]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            found = json.loads(text)["headers"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found = {}
        yield found if isinstance(found, dict) else {}  # who sends to a queue may write anything


def _result(identifier: str) -> str:
    stored: Any = client().get(f"celery-task-meta-{identifier}")
    return str(json.loads(stored).get("status", "")) if stored else ""
