"""Dead letters: what could not be delivered, and what is decided about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from hub.api import paging
from hub.api.bearer import actor
from hub.api.bodies import Body
from hub.api.offer import listing, operation, row_id
from hub.api.paging import Paged
from hub.api.scopes import Scope
from hub.events import deadletters, replays
from hub.events.models import DeadLetter
from hub.events.subscriptions import MAX_NAME

router = Router(tags=["dead letters"])
MAX_GROUPS = 200


class LetterFilter(Paged):
    """Which dead letters."""

    status: Literal["open", "replayed", "resolved", "discarded"] = "open"
    subscription: str = Field("", max_length=MAX_NAME, description="the name of one subscription")


class Correction(Body):
    """The payload that is delivered instead."""

    payload: dict[str, Any]


class Discarding(Body):
    """Why the event is given up."""

    reason: str


class GroupReplay(Body):
    """How fast, and whether only one is tried."""

    rate_per_sec: float = 5.0
    dry_run: bool = False


@listing(router, "/dead-letters")
def list_dead_letters(request: HttpRequest, query: Query[LetterFilter]) -> dict[str, Any]:
    """List dead letters, newest first."""
    page, cursor = paging.newest_first(deadletters.of(query.subscription, status=query.status), query, "last_at")
    return {"items": [_as_json(row) for row in page], "next": cursor}


@listing(router, "/dead-letters/groups")
def list_dead_letter_groups(request: HttpRequest) -> dict[str, Any]:
    """List the causes of open dead letters, the commonest first, at most 200."""
    return {"items": [asdict(group) for group in deadletters.groups(limit=MAX_GROUPS)]}


@operation(router, "POST", "/dead-letters/groups/{fingerprint}/replay", Scope.EVENTS_OPERATE, status=202)
def replay_dead_letter_group(request: HttpRequest, fingerprint: str, body: GroupReplay = GroupReplay()) -> dict[str, Any]:  # noqa: B008
    """Replay all of one cause at a rate; the first that fails again stops it. `dry_run` really replays one, the oldest."""
    run = replays.start(fingerprint, by=actor(request), rate_per_sec=body.rate_per_sec, dry_run=body.dry_run)
    return {"run": run.pk, "fingerprint": run.fingerprint, "letters": run.limit, "rate_per_sec": run.rate_per_sec}


@operation(router, "GET", "/dead-letters/{letter_id}", Scope.READ)
def show_dead_letter(request: HttpRequest, letter_id: str) -> dict[str, Any]:
    """Show a dead letter with its event, as it was last corrected, and each attempt."""
    row = deadletters.find(row_id(letter_id))
    return {**_as_json(row), "attempts": row.delivery.history, "event": row.delivery.event.body}


@operation(router, "POST", "/dead-letters/{letter_id}/replay", Scope.EVENTS_OPERATE)
def replay_dead_letter(request: HttpRequest, letter_id: str) -> dict[str, Any]:
    """Give the event to its subscription again."""
    return _as_json(deadletters.replay(row_id(letter_id), by=actor(request)))


@operation(router, "POST", "/dead-letters/{letter_id}/edit", Scope.EVENTS_OPERATE)
def edit_dead_letter(request: HttpRequest, letter_id: str, body: Correction) -> dict[str, Any]:
    """Replay with another payload; the old event is kept."""
    return _as_json(deadletters.edit_and_replay(row_id(letter_id), body.payload, by=actor(request)))


@operation(router, "POST", "/dead-letters/{letter_id}/discard", Scope.EVENTS_OPERATE)
def discard_dead_letter(request: HttpRequest, letter_id: str, body: Discarding) -> dict[str, Any]:
    """Give the event up for good."""
    return _as_json(deadletters.discard(row_id(letter_id), reason=body.reason, by=actor(request)))


def _as_json(row: DeadLetter) -> dict[str, Any]:
    own = ("status", "fingerprint", "error_code", "error", "hint", "deaths", "decided_by", "decided_at", "reason", "last_at")
    event = {"event_id": row.event.event_id, "topic": row.event.topic, "subscription": row.subscription.name}
    return {"id": row.pk, **event, **{name: getattr(row, name) for name in own}}
