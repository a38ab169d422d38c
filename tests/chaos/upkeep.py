"""Kills of what works on many runs at once: the sweep that puts a broken run aside, and the pruning of old runs."""

# ruff: noqa: T201

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hub.crashpoints import ANY
from hub.testing.rig import wait_until
from tests.chaos.stage import Stage

PATIENCE_SEC = 60.0
OLD_DAYS = 400


def kill(scene: Stage) -> list[str]:
    """Make the kills and return what is wrong after them."""
    found = []
    for point, work in (
        ("aside.before_commit", _put_aside),
        ("aside.after_commit", _put_aside),
        ("prune.before_commit", _prune),
        ("prune.after_commit", _prune),
    ):
        began = time.monotonic()
        complaints = work(scene, point)
        print(f"{point:21} {time.monotonic() - began:5.1f} s  {'; '.join(complaints) or 'ok'}")
        found += [f"{point}: {complaint}" for complaint in complaints]
    return found


def _put_aside(scene: Stage, point: str) -> list[str]:
    """A run that cannot be read is due; the sweeper dies of it, and must rescue another run all the same."""
    from sagas import clock, store
    from sagas.models import SagaExecution, SagaVersion

    good, broken = _accepted(scene), _accepted(scene)
    version = SagaVersion.objects.create(saga_name="broken", version=point, hash="broken", snapshot={})
    # The broken one comes first in every sweep, and nobody sent a message for the other.
    past = clock.moment(clock.now()) - timedelta(seconds=60)
    SagaExecution.objects.filter(pk=good).update(next_wake_at=past + timedelta(seconds=30))
    order = _order(scene.rig.orders / broken, point)
    SagaExecution.objects.filter(pk=broken).update(definition=version, next_wake_at=past)
    try:
        wait_until(lambda: not order.exists(), timeout_sec=PATIENCE_SEC, what=f"kill at {point}")
        return _unless(lambda: store.load(good).row.status == "completed", "the other run was not rescued") + _unless(
            lambda: SagaExecution.objects.get(pk=broken).next_wake_at > clock.moment(clock.now()), "the broken run was not put aside"
        )
    finally:
        SagaExecution.objects.filter(pk=broken).delete()
        version.delete()


def _prune(scene: Stage, point: str) -> list[str]:
    """Old runs are pruned; the worker dies of it, and after it is asked again none of them is left, nor a part of one."""
    from hub.celery import app
    from sagas import clock
    from sagas.models import SagaExecution, SagaStepExecution, SagaTransition

    # A saga that only waits leaves no line in the ledger, so that nobody misses it there when it is gone.
    ids = [_accepted(scene, "chaos_pause") for _ in range(3)]
    runs = SagaExecution.objects.filter(pk__in=ids)
    wait_until(lambda: runs.filter(status="completed").count() == len(ids), timeout_sec=PATIENCE_SEC, what="the runs to end")
    runs.update(finished_at=clock.moment(clock.now()) - timedelta(days=OLD_DAYS))
    order = _order(scene.rig.orders / ANY, point)
    app.send_task("hub.control.prune_sagas", queue="hub.control")
    wait_until(lambda: not order.exists(), timeout_sec=PATIENCE_SEC, what=f"kill at {point}")
    parts = (SagaStepExecution, SagaTransition)
    left = (runs.count(), *(part.objects.filter(execution__in=ids).count() for part in parts))
    half = [] if (left[0] == len(ids) and all(left)) or not any(left) else [f"half a run is left: {left}"]
    app.send_task("hub.control.prune_sagas", queue="hub.control")
    return half + _unless(lambda: not runs.exists(), "old runs were left")


def _accepted(scene: Stage, saga_name: str = "chaos_functions") -> str:
    """Store a run of which no message was sent, and return its id."""
    from sagas import accept, catalog

    row, _ = accept.accept(catalog.find(saga_name), accept.Request(context=scene.context()))
    return str(row.pk)


def _order(path: Path, point: str) -> Path:
    path.write_text(f"{point} - - 1 process")
    return path


def _unless(condition: Callable[[], Any], complaint: str) -> list[str]:
    try:
        wait_until(condition, timeout_sec=PATIENCE_SEC, what=complaint)
    except TimeoutError:
        return [complaint]
    return []
