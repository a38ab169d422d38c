"""Rows and people for the tests of the console's pages: moves are applied to the real machine, no worker is told."""

from __future__ import annotations

import time
import uuid
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hub.console import groups
from hub.events.messages import EventMessage
from hub.events.models import DeadLetter, Delivery, Event, Subscription
from sagas import catalog, events, store
from sagas.accept import Request, accept
from sagas.models import SagaExecution
from sagas.states import Direction


def person(group: str, name: str = "ann") -> Client:
    """Return a browser in which a member of a group is logged in."""
    groups.make(apps)
    user = User.objects.create_user(name, is_staff=True)  # without a password: hashing one costs more than a page
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def saga(name: str = "three_steps", **context: Any) -> SagaExecution:
    """Return an accepted run of a saga from `tests.sagas.saga_samples`; no worker is told of it."""
    row, _ = accept(catalog.find(name), Request(context=context))
    return row


def step_done(run: SagaExecution, index: int, direction: Direction = Direction.DO, **output: Any) -> None:
    epoch = _claim(run, index, direction)
    store.dispatch(run.pk, events.Succeeded(step=index, epoch=epoch, now=time.time(), output=output))


def step_failed(run: SagaExecution, index: int, direction: Direction = Direction.DO, *, message: str = "broken") -> None:
    epoch = _claim(run, index, direction)
    error = {"code": "E11440", "message": message}
    store.dispatch(run.pk, events.Failed(step=index, epoch=epoch, now=time.time(), outcome="failed", error=error, retryable=False))


def _claim(run: SagaExecution, index: int, direction: Direction) -> int:
    now = time.time()
    claimed = store.dispatch(run.pk, events.Claim(step=index, direction=direction, now=now, limit_sec=30, grace_sec=5))
    assert not claimed.ignored, claimed.ignored
    return claimed.run.steps[index].epoch


def failed_saga(**context: Any) -> SagaExecution:
    """Return a run that failed at its second step, with its first one standing."""
    run = saga("no_undo", **context)
    step_done(run, 0, a_done=1)
    step_failed(run, 1)
    run.refresh_from_db()
    assert run.status == "failed"
    return run


def waiting_saga() -> SagaExecution:
    """Return a run that waits for the signal `approved`."""
    run = saga("approval")
    step_done(run, 0)
    run.refresh_from_db()
    assert run.status == "waiting"
    return run


def parked_saga() -> SagaExecution:
    """Return a run whose rollback is incomplete: b could not be undone."""
    run = saga("three_steps")
    step_done(run, 0)
    step_done(run, 1)
    step_failed(run, 2)
    step_failed(run, 1, Direction.UNDO, message="the account is closed")
    step_done(run, 0, Direction.UNDO)
    run.refresh_from_db()
    assert run.status == "needs_operator"
    return run


def dead_letters(count: int = 1, *, payload: dict[str, Any] | None = None, fingerprint: str = "f" * 16) -> list[DeadLetter]:
    """Return letters of one cause, for a task that no worker runs."""
    name = f"mail-{uuid.uuid4().hex[:6]}"
    subscription = Subscription.objects.create(name=name, pattern="agent.*", kind="task", task="l03.mail", queue="l03")
    return [_dead_letter(subscription, payload or {"agent": "a1"}, fingerprint) for _ in range(count)]


def _dead_letter(subscription: Subscription, payload: dict[str, Any], fingerprint: str) -> DeadLetter:
    now, message = timezone.now(), EventMessage.create("agent.created", "created", payload)
    event = Event.objects.create(
        event_id=message.metadata.event_id,
        topic=message.topic,
        event_type=message.event_type,
        source="L02_runtime",
        body=message.to_wire(),
        time=now,
    )
    delivery = Delivery.objects.create(subscription=subscription, event=event, status="dead", due_at=now, finished_at=now)
    return DeadLetter.objects.create(
        delivery=delivery, subscription=subscription, event=event, fingerprint=fingerprint, error_code="E11143", error="gone", last_at=now
    )


def act(browser: Client, subject: str, thing: object, name: str, **form: Any) -> Any:
    """Send the form of an action, and return the page that it leads to."""
    url = reverse("console:act", args=[subject, str(thing), name])
    return browser.post(url, {"reason": "because", "token": token(), **form}, follow=True)


def token() -> str:
    return str(uuid.uuid4())
