"""The one row that all processes compare: has the registry changed, and does the hub suspect itself?"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from registry_app.models import RegistryState

_ROW = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Freeze:
    """The hub suspects itself: since when, why, and from when on failures count as part of the same event."""

    since: datetime
    counting_from: datetime
    reason: str


def current_revision() -> str:
    """Return the revision of what routing sees; empty before the first registration."""
    return RegistryState.objects.filter(pk=_ROW).values_list("revision", flat=True).first() or ""


def mark_changed() -> None:
    """Give the registry a new revision, in the transaction of the change itself: no reader can see one without the other.

    A random value, not a counter: after a rollback the same number would come again for another content.
    """
    revision = uuid.uuid4().hex
    if not RegistryState.objects.filter(pk=_ROW).update(revision=revision):
        RegistryState.objects.update_or_create(pk=_ROW, defaults={"revision": revision})


def begin_freeze(freeze: Freeze, *, instead_of: Freeze | None) -> bool:
    """Begin to suspect ourselves, in place of a freeze that has lost its effect; False when another process did so already."""
    RegistryState.objects.get_or_create(pk=_ROW, defaults={"revision": uuid.uuid4().hex})
    columns = {"frozen_since": freeze.since, "counting_from": freeze.counting_from, "frozen_reason": freeze.reason[:300]}
    standing = instead_of.since if instead_of else None
    return RegistryState.objects.filter(pk=_ROW, frozen_since=standing).update(**columns) == 1


def end_freeze() -> bool:
    """End the suspicion; False when there was none."""
    columns = {"frozen_since": None, "counting_from": None, "frozen_reason": ""}
    return RegistryState.objects.filter(pk=_ROW, frozen_since__isnull=False).update(**columns) == 1


def current_freeze() -> Freeze | None:
    """Return the freeze that has begun, or None."""
    row = RegistryState.objects.filter(pk=_ROW, frozen_since__isnull=False).first()
    if row is None or row.frozen_since is None or row.counting_from is None:
        return None
    return Freeze(since=row.frozen_since, counting_from=row.counting_from, reason=row.frozen_reason)
