"""What an operator may do to a dead letter, and to all that died of one cause."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from hub.console.acting.shape import Action, Field, Given, Subject
from hub.errors import ErrorCode, IntegrationError
from hub.events import deadletters, replays
from hub.events.models import DeadLetter, ReplayRun


def find_letter(letter_id: str) -> DeadLetter:
    """Return a dead letter; E11123 when there is none."""
    return deadletters.find(int(letter_id) if letter_id.isdecimal() and len(letter_id) < 19 else 0)


def _letter_standing(letter_id: str) -> dict[str, Any]:
    row = find_letter(letter_id)
    return {"status": row.status, "subscription": row.subscription.name, "deaths": row.deaths, "event": row.event.event_id}


def find_cause(fingerprint: str) -> DeadLetter:
    """Return the newest letter of a cause; E11123 when nothing ever died of it."""
    row = DeadLetter.objects.filter(fingerprint=fingerprint).select_related("subscription", "event").order_by("-last_at").first()
    if row is None:
        raise IntegrationError(ErrorCode.DEAD_LETTER_NOT_FOUND, f"no dead letter has the fingerprint {fingerprint[:40]!r}")
    return row


def running(fingerprint: str) -> ReplayRun | None:
    """Return the replay of a cause that runs now."""
    return ReplayRun.objects.filter(fingerprint=fingerprint, status=ReplayRun.Status.RUNNING).first()


def _cause_standing(fingerprint: str) -> dict[str, Any]:
    open_ones = DeadLetter.objects.filter(fingerprint=fingerprint, status=DeadLetter.Status.OPEN).count()
    run = running(fingerprint)
    return {"status": "being replayed" if run else "waiting", "open": open_ones, "released": run.released if run else 0}


def _replay(given: Given) -> str:
    deadletters.replay(int(given.subject_id), by=given.by)
    return f"dead letter {given.subject_id} goes out again"


def _edit(given: Given) -> str:
    letter = find_letter(given.subject_id)
    payload = merged(letter.delivery.event.body.get("data"), given.values["changes"])
    deadletters.edit_and_replay(letter.pk, payload, by=given.by)
    return f"a copy goes out with another {', '.join(sorted(given.values['changes']))}"


def merged(value: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """Return an object with a JSON merge patch applied (RFC 7396): null takes a name out."""
    found = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), change) if isinstance(change, dict) else change
    return found


def _discard(given: Given) -> str:
    deadletters.discard(int(given.subject_id), reason=given.reason, by=given.by)
    return f"dead letter {given.subject_id} is given up"


def _start(given: Given, *, dry_run: bool) -> str:
    rate = given.values.get("rate", 5)
    run = replays.start(given.subject_id, by=given.by, rate_per_sec=rate, dry_run=dry_run)
    return f"{run.limit} go out again, up to {run.rate_per_sec:g} a second; the first that fails again stops it"


def _stop(given: Given) -> str:
    run = running(given.subject_id)
    if run is None or not replays.stop(run.pk, reason=f"{given.reason} ({given.by})"):
        raise IntegrationError(ErrorCode.ALREADY_DONE, "the replay has ended")
    return f"stopped after {run.released} of {run.limit}"


def _is_open(letter: DeadLetter) -> bool:
    return letter.status == DeadLetter.Status.OPEN


def _can_start(letter: DeadLetter) -> bool:
    is_open = DeadLetter.objects.filter(fingerprint=letter.fingerprint, status=DeadLetter.Status.OPEN).exists()
    return is_open and running(letter.fingerprint) is None


LETTER = Subject(
    name="dead-letter",
    view_permission="events.view_deadletter",
    find=find_letter,
    id_of=lambda letter: str(letter.pk),
    look=_letter_standing,
    page=lambda letter_id: reverse("admin:events_deadletter_change", args=[letter_id]),
    actions=(
        Action(
            name="replay",
            label="Replay",
            permission="replay_deadletter",
            explains="Gives the event to its subscription again, with all its attempts.",
            call=_replay,
            is_offered=_is_open,
        ),
        Action(
            name="edit",
            label="Edit and replay",
            permission="edit_deadletter",
            explains="Gives the subscription a corrected copy; the old event is kept and named as its cause.",
            call=_edit,
            is_offered=_is_open,
            fields=lambda letter: [
                Field(name="changes", label="Changes to the payload (a JSON object laid over it; null takes a name out)", kind="json")
            ],
        ),
        Action(
            name="discard",
            label="Discard",
            permission="discard_deadletter",
            explains="Gives the event up for this subscription. The letter is kept with your reason until its retention ends.",
            call=_discard,
            is_offered=_is_open,
        ),
    ),
)
CAUSE = Subject(
    name="cause",
    view_permission="events.view_deadletter",
    find=find_cause,
    id_of=lambda letter: letter.fingerprint,
    look=_cause_standing,
    page=lambda fingerprint: reverse("console:cause", args=[fingerprint]),
    actions=(
        Action(
            name="replay",
            label="Replay all",
            permission="replay_cause",
            explains="Replays every open letter of this cause, the oldest first. The first that fails again stops it.",
            call=lambda given: _start(given, dry_run=False),
            is_offered=_can_start,
            fields=lambda letter: [
                Field(name="rate", label="How many a second", kind="number", initial="5", low=0.1, high=replays.MAX_RATE_PER_SEC)
            ],
        ),
        Action(
            name="try-one",
            label="Try one",
            permission="try_cause",
            explains="Replays the oldest letter only, to see what happens.",
            call=lambda given: _start(given, dry_run=True),
            is_offered=_can_start,
        ),
        Action(
            name="stop",
            label="Stop the replay",
            permission="stop_cause",
            explains="Releases no further letter; what was released goes on.",
            call=_stop,
            is_offered=lambda letter: running(letter.fingerprint) is not None,
        ),
    ),
)
