"""What an operator may do to a subscription or a route: let its events wait, and let them go on."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from hub.console.acting.shape import Action, Given, Subject
from hub.errors import ErrorCode, IntegrationError
from hub.events import subscriptions
from hub.events.models import Subscription


def find(pk: str) -> Subscription:
    """Return a subscription by its number; E11120 when there is none."""
    row = Subscription.objects.filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 19 else None
    if row is None:
        raise IntegrationError(ErrorCode.SUBSCRIPTION_NOT_FOUND, f"there is no durable subscription {pk[:40]!r}")
    return row


def _standing(pk: str) -> dict[str, Any]:
    row = find(pk)
    return {"name": row.name, "status": "paused" if row.paused else "delivering"}


def _pause(given: Given) -> str:
    row = find(given.subject_id)
    subscriptions.pause(row.name)
    return f"{row.name} waits; its events are kept"


def _resume(given: Given) -> str:
    row = find(given.subject_id)
    subscriptions.resume(row.name)
    return f"{row.name} gets its events again"


SUBSCRIPTION = Subject(
    name="subscription",
    view_permission="events.view_subscription",
    find=find,
    id_of=lambda row: str(row.pk),
    look=_standing,
    page=lambda pk: reverse("admin:events_subscription_change", args=[pk]),
    actions=(
        Action(
            name="pause",
            label="Pause",
            permission="pause_subscription",
            explains="Sends nothing to it until it is resumed; events are kept for as long as it keeps them.",
            call=_pause,
            is_offered=lambda row: not row.paused,
        ),
        Action(
            name="resume",
            label="Resume",
            permission="resume_subscription",
            explains="Sends what waited, and what comes.",
            call=_resume,
            is_offered=lambda row: bool(row.paused),
        ),
    ),
)
