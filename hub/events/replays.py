"""Replays of many: a group of dead letters at a rate, and a subscription from a moment of the past."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q

from hub import database_clock
from hub.errors import ErrorCode, IntegrationError
from hub.events import deadletters, intake, messages, positions, stream, subscriptions, topics
from hub.events.intake import Taken
from hub.events.models import DeadLetter, Delivery, ReplayRun, Subscription
from hub.events.roster import subscriber_of
from hub.redis_client import client

MAX_RATE_PER_SEC = 1_000.0
READ_BATCH = 500
Run = ReplayRun.Status
Letter = DeadLetter.Status


def start(fingerprint: str, *, by: str, rate_per_sec: float = 5.0, limit: int | None = None, dry_run: bool = False) -> ReplayRun:
    """Begin to replay the open dead letters of one cause, oldest first; the first that fails again stops it.

    `dry_run` replays only one, to see what happens. The relay does the work, so it goes on after a restart.
    Errors: E11123 nothing is open under this fingerprint, E11902 the rate, E11921 one is running already.
    """
    if not 0 < rate_per_sec <= MAX_RATE_PER_SEC:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"rate must be above 0 and at most {MAX_RATE_PER_SEC:g} a second")
    count = DeadLetter.objects.filter(fingerprint=fingerprint, status=Letter.OPEN).count()
    if not count:
        raise IntegrationError(ErrorCode.DEAD_LETTER_NOT_FOUND, f"no open dead letters have the fingerprint {fingerprint[:40]!r}")
    wanted = 1 if dry_run else min(count, limit or count)
    run = ReplayRun(
        fingerprint=fingerprint, rate_per_sec=rate_per_sec, limit=wanted, requested_by=by[:150], started_at=database_clock.moment()
    )
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError as exc:
        raise IntegrationError(ErrorCode.CONFLICT, f"a replay of {fingerprint} is running") from exc
    return run


def stop(run_id: int, *, reason: str) -> bool:
    """Stop a running replay; what was released goes on. False when it had ended."""
    return _end(run_id, Run.STOPPED, reason, now=database_clock.moment())


def advance(*, now: datetime) -> int:
    """Release what the running replays may by now, and end those that failed or are through; returns how many were released."""
    return sum(_advance(run, now=now) for run in ReplayRun.objects.filter(status=Run.RUNNING))


def _advance(run: ReplayRun, *, now: datetime) -> int:
    found = run.letters.aggregate(again=Count("id", filter=Q(status=Letter.OPEN)), waiting=Count("id", filter=Q(status=Letter.REPLAYED)))
    if found["again"]:
        _end(run.pk, Run.STOPPED, f"{found['again']} failed again", now=now)
        return 0
    if run.released >= run.limit:
        if not found["waiting"]:
            _end(run.pk, Run.DONE, "", now=now)
        return 0
    allowed = 1 + int((now - run.started_at).total_seconds() * run.rate_per_sec)
    # A second's worth at most: what relays that were away did not release would go out before the first can fail again.
    return _release(run, min(min(allowed, run.limit) - run.released, ceil(run.rate_per_sec)))


def _release(run: ReplayRun, number: int) -> int:
    letters = DeadLetter.objects.filter(fingerprint=run.fingerprint, status=Letter.OPEN).exclude(run=run)
    ids = list(letters.order_by("id").values_list("id", flat=True)[: max(number, 0)])
    if not ids and number > 0:
        # Others decided about the rest meanwhile.
        ReplayRun.objects.filter(pk=run.pk).update(limit=run.released)
    return sum(_release_one(run, letter_id) for letter_id in ids)


def _release_one(run: ReplayRun, letter_id: int) -> bool:
    with transaction.atomic():
        # Two relays may release at once: the count decides who releases the next one.
        won = ReplayRun.objects.filter(pk=run.pk, status=Run.RUNNING, released=run.released).update(released=run.released + 1)
        if not won:
            return False
        run.released += 1
        try:
            with transaction.atomic():
                deadletters.replay(letter_id, by=run.requested_by)
                DeadLetter.objects.filter(pk=letter_id).update(run=run)
        except IntegrationError as exc:
            # Somebody decided about it meanwhile, or removed its subscription.
            if exc.code not in (ErrorCode.DEAD_LETTER_ALREADY_REPLAYED, ErrorCode.DEAD_LETTER_NOT_FOUND):
                raise
            return False
    return True


def _end(run_id: int, status: str, reason: str, *, now: datetime) -> bool:
    running = ReplayRun.objects.filter(pk=run_id, status=Run.RUNNING)
    return running.update(status=status, stopped_because=reason[:500], ended_at=now) == 1


def from_time(name: str, since: datetime, *, again: bool = False) -> int:
    """Give a subscription every event in the stream since a moment, and return how many deliveries that is.

    What it has already is left out, unless `again`. The stream goes back as far as HUB_EVENT_RETENTION_DAYS and
    HUB_EVENT_STREAM_MAX_LENGTH let it. Errors: E11120 no such subscription, E11909 a time without a zone.
    """
    if since.tzinfo is None:
        raise IntegrationError(ErrorCode.TIME_MALFORMED, "the time of a replay needs a zone")
    subscription, now = subscriptions.find(name), database_clock.moment()
    before = Delivery.objects.filter(subscription=subscription).count()
    cursor = positions.at(since)
    while entries := _entries(cursor):
        intake.store(_wanted(subscription, entries), now=now)
        cursor = f"({entries[-1][0]}"
    added = Delivery.objects.filter(subscription=subscription).count() - before
    return added + (_again(subscription, since, now=now) if again else 0)


def _entries(cursor: str) -> list[tuple[str, dict[str, str]]]:
    found: Any = client().xrange(stream.STREAM, min=cursor, count=READ_BATCH)
    return list(found)


def _wanted(subscription: Subscription, entries: list[tuple[str, dict[str, str]]]) -> list[Taken]:
    subscriber = replace(subscriber_of(subscription), start_position="")
    found = []
    for stream_id, fields in entries:
        try:
            event = messages.decode(fields["e"])
        except (KeyError, IntegrationError):
            continue  # the relay has counted and logged it
        if topics.matches(subscription.pattern, event.topic):
            found.append(Taken(event=event, position=positions.sortable(stream_id), subscribers=[subscriber]))
    return found


def _again(subscription: Subscription, since: datetime, *, now: datetime) -> int:
    done = Delivery.objects.filter(subscription=subscription, status=Delivery.Status.DELIVERED, finished_at__lt=now)
    done = done.filter(position__gte=positions.sortable(positions.at(since)))
    anew = {"attempts": 0, "repetition": F("repetition") + 1, "due_at": now, "created_at": now, "finished_at": None}
    return done.update(status=Delivery.Status.PENDING, **anew)
