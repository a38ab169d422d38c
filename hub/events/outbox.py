"""Events published inside a transaction: rows that go out with the commit, by whoever comes first.

The publisher sends right after its commit. If it dies before, the relay finds the row. Sent twice is told once,
because the id is the same.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db import transaction

from hub.errors import IntegrationError
from hub.events import messages, stream, transport
from hub.events.messages import Outgoing
from hub.events.models import OutboxEvent
from hub.telemetry import metrics

log = logging.getLogger(__name__)
OWN_PUBLISHER_SEC = 2.0
"""So long the publisher itself has to send; a relay that came at once would only repeat it."""
BATCH = 100


def add(outgoing: Outgoing) -> None:
    """Keep a prepared event with the caller's transaction, to be sent when it commits; E11121 when its id waits with another content."""
    event_id = outgoing.event.metadata.event_id
    row, is_new = OutboxEvent.objects.get_or_create(event_id=event_id, defaults={"body": outgoing.text})
    if is_new:
        transaction.on_commit(lambda: _send(row.pk, outgoing), robust=True)
    elif messages.decode(row.body).content_digest() != outgoing.event.content_digest():
        raise transport.refusal(outgoing.event, stream.CONFLICT)


def send_left(*, now: datetime) -> int:
    """Send what publishers left behind, oldest first, and return how many went out."""
    rows = OutboxEvent.objects.filter(created_at__lt=now - timedelta(seconds=OWN_PUBLISHER_SEC)).order_by("pk")[:BATCH]
    return sum(_send_row(row) for row in rows)


def _send_row(row: OutboxEvent) -> bool:
    try:
        outgoing = Outgoing(event=messages.decode(row.body), text=row.body)
    except IntegrationError as exc:
        # Another version of the hub wrote it. It cannot become an event by waiting, and must not stop those behind it.
        metrics.increment("hub_events_unreadable_total")
        log.error("a row of the outbox is no event", extra={"event_id": row.event_id, "code": str(exc.code)})
        row.delete()
        return False
    return _send(row.pk, outgoing)


def _send(pk: int, outgoing: Outgoing) -> bool:
    try:
        transport.send([outgoing])
    except IntegrationError as exc:
        log.warning("an event waits in the outbox", extra={"event_id": outgoing.event.metadata.event_id, "code": str(exc.code)})
        if exc.is_recoverable:
            return False
    # A refusal that will not change (its id has another content) ends here too: the log has it.
    OutboxEvent.objects.filter(pk=pk).delete()
    return True
