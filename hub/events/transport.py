"""Prepared events into Redis, all in one round trip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import redis
from django.conf import settings

from hub.conf import HubSettings
from hub.errors import ErrorCode, IntegrationError
from hub.events import stream
from hub.events.messages import EventMessage, Outgoing
from hub.redis_client import client, lacks_memory
from hub.telemetry import metrics

GOOD = (stream.ACCEPTED, stream.REPEATED)


def send(outgoing: Sequence[Outgoing]) -> None:
    """Send prepared events to Redis now, all in one round trip, and raise the first refusal."""
    try:
        answers = _send(outgoing)
    except redis.RedisError as exc:
        metrics.increment("hub_events_refused_total", len(outgoing), reason="unavailable")
        raise IntegrationError(
            ErrorCode.EVENT_STORE_UNAVAILABLE,
            f"Redis did not take {len(outgoing)} event(s): {'it has no memory left' if lacks_memory(exc) else type(exc).__name__}",
            recovery_suggestion="publish the same event again, it will not be doubled",
        ) from exc
    for outcome, number in Counter(answers).items():
        metrics.increment("hub_events_published_total", number, outcome=outcome)
    for one, answer in zip(outgoing, answers, strict=True):
        if answer not in GOOD:
            raise refusal(one.event, answer)


def _send(outgoing: Sequence[Outgoing]) -> list[str]:
    script, limits = stream.publish_script(), settings.HUB
    if len(outgoing) == 1:
        keys, arguments = _arguments(outgoing[0], limits)
        return [script(keys=keys, args=arguments, client=client())]
    with client().pipeline(transaction=False) as pipe:
        for one in outgoing:
            keys, arguments = _arguments(one, limits)
            script(keys=keys, args=arguments, client=pipe)
        return list(pipe.execute())


def _arguments(one: Outgoing, limits: HubSettings) -> tuple[list[str], list[str | int]]:
    event = one.event
    return stream.publish_arguments(
        event_id=event.metadata.event_id,
        source=event.metadata.source_service,
        topic=event.topic,
        text=one.text,
        digest=event.content_digest(),
        per_second=limits.event_max_per_sec,
        max_length=limits.event_stream_max_length,
    )


def refusal(event: EventMessage, answer: str) -> IntegrationError:
    """Return the error of an event that was not taken; `answer` is the word of the script."""
    event_id, source, limits = event.metadata.event_id, event.metadata.source_service, settings.HUB
    if answer == stream.CONFLICT:
        return IntegrationError(ErrorCode.EVENT_ID_REUSED, f"event id {event_id} was published with another content")
    if answer == stream.LIMITED:
        text = f"{source} published more than {limits.event_max_per_sec} events in this second"
        return IntegrationError(ErrorCode.PUBLISH_RATE_LIMITED, text)
    return IntegrationError(
        ErrorCode.SUBSCRIBER_BACKLOG_FULL,
        f"{limits.event_stream_max_length} events wait for the relay",
        recovery_suggestion="see that `manage.py relay` runs",
    )
