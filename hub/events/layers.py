"""Durable subscriptions that layers make for themselves: each under the layer's own name, which no other layer may touch."""

from __future__ import annotations

import logging
import re
from typing import Any

from django.conf import settings

from hub.errors import ErrorCode, IntegrationError
from hub.events import subscriptions, targets
from hub.events.models import Subscription
from hub.events.subscriptions import Policy

log = logging.getLogger(__name__)
_SOURCE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}\Z")
_OF_THE_HUB = frozenset({"hub", "sagas"})


def subscribe(source_service: str, name: str, pattern: str, target: dict[str, str], policy: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the durable subscription ``source_service:name``, or change it, and return ``{name, pattern, target, paused}``.

    `target`: ``{task, queue}`` or ``{service_name, path}``. `policy`: the fields of `Policy` that are not the defaults. Asked
    for again, at every start of a layer, it stays what it is, paused where an operator paused it.
    Errors: E11908 name or source, E11181 a name of the hub's own, E11106 target, E11105 pattern, E11164 one that matches
    every topic (an operator makes those), E11902 policy, E11903 an unknown field of it, E11161 too many.
    """
    full = _full_name(source_service, name)
    found = targets.from_fields(target)
    _check_room(source_service, full)
    row = subscriptions.subscribe(full, pattern, found, policy=None if policy is None else _policy(policy))
    log.info("a layer subscribed", extra={"subscription": full, "pattern": pattern, "target": row.target})
    return {"name": full, "pattern": row.pattern, "target": row.target, "paused": row.paused}


def find(source_service: str, name: str) -> Subscription:
    """Return a subscription of a layer; E11120 when there is none."""
    return subscriptions.find(_full_name(source_service, name))


def unsubscribe(source_service: str, name: str) -> dict[str, str]:
    """Remove a subscription of a layer with all it has not delivered yet, and return its name; E11120 when there is none."""
    full = _full_name(source_service, name)
    subscriptions.unsubscribe(full)
    log.info("a layer unsubscribed", extra={"subscription": full})
    return {"name": full}


def _full_name(source: object, name: object) -> str:
    for what, value, form in (("source_service", source, _SOURCE), ("name", name, _NAME)):
        if not isinstance(value, str) or not form.match(value):
            raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"{what} {ascii(value)[:80]} must match {form.pattern}")
    if str(source).lower() in _OF_THE_HUB:
        raise IntegrationError(ErrorCode.SUBSCRIBE_NOT_PERMITTED, f"subscriptions of {source!r} are the hub's own")
    return f"{source}:{name}"


def _policy(fields: object) -> Policy:
    if not isinstance(fields, dict):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"policy must be an object, not {type(fields).__name__}")
    unknown = next((name for name in fields if name not in Policy.__dataclass_fields__), None)
    if unknown is not None:
        known = ", ".join(Policy.__dataclass_fields__)
        raise IntegrationError(ErrorCode.ARGUMENT_UNKNOWN, f"a policy has no {ascii(unknown)[:80]} (it has: {known})")
    return Policy(**fields)


def _check_room(source: str, full: str) -> None:
    """Leave room for others: one layer has at most a tenth of what there may be."""
    most = max(1, settings.HUB.event_max_subscriptions // 10)
    theirs = Subscription.objects.filter(name__startswith=f"{source}:").exclude(name=full)
    if len(theirs.values_list("pk")[:most]) >= most:
        raise IntegrationError(ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"{source} has {most} subscriptions, which is the limit for one layer")
