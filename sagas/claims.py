"""Claim a step: say in the run's row that this process is about to run it, and until when it counts as alive (S4, S7)."""

from __future__ import annotations

import math
from typing import Any

from django.conf import settings

from hub.crashpoints import crash_point
from hub.errors import ErrorCode, IntegrationError
from registry_app import lookup
from sagas import attempts, brake, calls, chain, clock, events, locks, plan, store
from sagas.claimed import Attempt
from sagas.spec import HONOURS, StepSpec
from sagas.states import Direction
from sagas.store import Applied, Loaded


def claim(loaded: Loaded, index: int, direction: Direction, *, task_id: str = "") -> Attempt | None:
    """Take the step under a lease, or return None because it is not this message's turn (duplicate, late, turned back)."""
    execution_id = str(loaded.row.pk)
    obstacle = _obstacle(loaded, index, direction)
    if obstacle:
        store.dispatch(execution_id, events.Blocked(now=clock.now(), patience_sec=math.inf, error=obstacle))
        return None
    event = event_for(loaded, index, direction, task_id)
    applied = store.dispatch(execution_id, event, loaded=loaded)
    if applied.ignored:
        if direction is Direction.UNDO and applied.run.steps[index].lease_until is None:
            brake.give_back(execution_id, index)  # taken for a claim that came too late, and nobody else runs under it
        return None
    return attempt_of(applied, event, granted_sec=attempts.granted_sec(applied.spec, applied.before, event))


def event_for(loaded: Loaded, index: int, direction: Direction, task_id: str) -> events.Claim:
    """Return what is asked of the machine: the step, now, for as long as its author allows."""
    step = loaded.spec.steps[index]
    honours = _honours(step, direction)
    return events.Claim(
        step=index,
        direction=direction,
        now=clock.now(),
        limit_sec=step.limit_sec(direction),
        grace_sec=settings.HUB.saga_lease_grace_sec,
        lease_sec=_lease_sec(loaded, step, direction, honours),
        task_id=task_id,
        honours=honours,
    )


def attempt_of(applied: Applied, event: events.Claim, *, granted_sec: float) -> Attempt:
    """Return the attempt that a committed claim began."""
    crash_point("claim.after", str(applied.row.pk), event.direction, event.step)
    return Attempt(
        execution_id=str(applied.row.pk),
        index=event.step,
        direction=event.direction,
        epoch=applied.run.steps[event.step].epoch,
        applied=applied,
        ends_at=event.now + granted_sec,
    )


def _lease_sec(loaded: Loaded, step: StepSpec, direction: Direction, honours: str) -> float:
    """Return for how long a claim holds without a renewal.

    Nobody renews for a layer, a child saga or a run that its caller drives; and a service that honours no key must not be
    called, or undone, while an earlier call may still be on its way.
    """
    is_ours = not chain.is_handed_over(step, direction) and loaded.run.owner_until is None
    return settings.HUB.saga_lease_sec if is_ours and honours != "none" else math.inf


def _honours(step: StepSpec, direction: Direction) -> str:
    """Return what the service of a step says it honours, from its record in the registry (metadata ``honours``)."""
    if direction is Direction.UNDO or step.do.kind != "http":
        return ""
    try:
        declared = lookup.choose(step.do.where).metadata.get("honours", "")
    except IntegrationError:
        return ""  # the call itself will say what is wrong with the service
    return declared if declared in HONOURS else ""


def _obstacle(loaded: Loaded, index: int, direction: Direction) -> dict[str, Any] | None:
    """Return what keeps the step from beginning now: an entity another run holds (S24), or too many undos at once."""
    row, step = loaded.row, loaded.spec.steps[index]
    # For an undo too: a run that had ended let go of them, and others may be at work on the entity.
    held = locks.acquire(row) if row.lock_names else None
    if held is not None:
        return calls.as_error(ErrorCode.ENTITY_LOCKED, locks.locked(held).message)
    if direction is Direction.DO or step.undo is None:
        return None
    lease_until = clock.now() + step.undo_timeout_sec + settings.HUB.saga_lease_grace_sec
    if brake.take(step.undo, str(row.pk), index, lease_until=lease_until):
        return None
    return calls.as_error(ErrorCode.COMPENSATION_FAILED, brake.waiting_words(step.undo))


def is_turn(loaded: Loaded, index: int, direction: Direction) -> bool:
    """Tell whether this step may begin now in this direction."""
    work = plan.work(loaded.spec, loaded.run, now=clock.now())
    return work is not None and work.direction is direction and work.offers(index)
