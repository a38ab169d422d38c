"""What a token may be allowed to do (pure)."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """Leave for one kind of operation; none includes another."""

    READ = "read"
    """Look at everything the API shows."""
    SERVICES_WRITE = "services:write"
    """Register, beat, set maintenance, probe, take out."""
    REQUESTS_SEND = "requests:send"
    """Route requests and broadcasts."""
    SAGAS_WRITE = "sagas:write"
    """Start a saga, signal it, cancel it."""
    SAGAS_OPERATE = "sagas:operate"
    """Retry, compensate, skip, resolve, rerun."""
    EVENTS_PUBLISH = "events:publish"
    """Publish events."""
    EVENTS_SUBSCRIBE = "events:subscribe"
    """Make and remove durable subscriptions of layers."""
    EVENTS_OPERATE = "events:operate"
    """Decide about dead letters."""
    CIRCUITS_OPERATE = "circuits:operate"
    """Force and reset breakers."""
