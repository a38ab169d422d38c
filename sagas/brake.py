"""The storm brake: at most n undos at once against one target, so that a mass failure is not a mass refund attack.

A slot is a row with a unique (target, number); whoever inserts it has it until its undo ends, or its lease does.
"""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import IntegrityError, transaction

from hub.crashpoints import crash_point
from sagas import clock
from sagas.models import UndoSlot
from sagas.spec import Call


def target_of(call: Call) -> str:
    """Return what is being protected: a service, a queue, or a function."""
    return (call.where or call.target)[:200]


def waiting_words(call: Call) -> str:
    """Return what a run says while it waits for a slot against this target."""
    return f"waits its turn: enough undos run against {target_of(call)}"


def take(call: Call, execution_id: str, index: int, *, lease_until: float) -> bool:
    """Take a slot for an undo, or go on with the one that it has; False when all are taken."""
    target, most = target_of(call), settings.HUB.saga_max_undos_per_target
    own = UndoSlot.objects.filter(target=target, execution=uuid.UUID(execution_id), step_index=index)
    if own.update(lease_until=clock.moment(lease_until)):
        return True
    UndoSlot.objects.filter(target=target, lease_until__lt=clock.moment(clock.now())).delete()
    used = set(UndoSlot.objects.filter(target=target).values_list("number", flat=True))
    free = (number for number in range(most) if number not in used)
    return any(_insert(target, number, execution_id, index, lease_until) for number in free)


def _insert(target: str, number: int, execution_id: str, index: int, lease_until: float) -> bool:
    until = clock.moment(lease_until)
    try:
        with transaction.atomic():
            UndoSlot.objects.create(target=target, number=number, execution_id=execution_id, step_index=index, lease_until=until)
    except IntegrityError:
        return False
    crash_point("slot.after_commit", execution_id, "undo", index)
    return True


def give_back(execution_id: str, index: int) -> None:
    """Free the slot of an undo that has ended, however it ended."""
    UndoSlot.objects.filter(execution=uuid.UUID(execution_id), step_index=index).delete()
