"""Why is it stuck? From facts to words: how long it waits, for what, and what happens next by itself (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from hub.diagnosis.facts import CircuitFacts, QueueFacts, RequestFacts, SagaFacts, StepFacts

LATE_LOOKS = 5
"""A sweeper that is so many of its rounds late is taken to be gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Why:
    """`headline` says how it stands and for how long, `because` what it waits for, `then` what happens next."""

    headline: str
    because: str = ""
    then: str = ""

    def __str__(self) -> str:
        said = f"{self.headline}: {self.because}" if self.because else self.headline
        return f"{said}; {self.then}" if self.then else said


def why_saga(facts: SagaFacts) -> Why:
    """Return why a run stands where it stands; the first rule that applies answers."""
    if facts.is_final:
        return _final(facts)
    waiting = f"waiting {_lasting(facts.now - facts.since)}"
    for rule in _RULES:
        found = rule(facts)
        if found is not None:
            return Why(headline=waiting, because=found[0], then=found[1])
    return Why(headline=waiting, because="work lies ready", then=_next_look(facts))


Found = tuple[str, str] | None


def _final(facts: SagaFacts) -> Why:
    ago = f"for {_lasting(facts.now - facts.since)}"
    if facts.status != "needs_operator":
        return Why(headline=f"not stuck: {facts.status} {ago}", because=facts.error)
    if facts.blocked_at is not None:
        return Why(
            headline=f"before an operator {ago}", because=facts.blocked_reason, then="it is sent on by itself when that is no longer so"
        )
    because = f"the undo of {facts.undo_failed} failed ({facts.error})" if facts.undo_failed else facts.error
    return Why(headline=f"before an operator {ago}", because=because, then="nothing happens until somebody decides")


def _driven_by_caller(facts: SagaFacts) -> Found:
    if facts.owner_until is None:
        return None
    if facts.owner_until > facts.now:
        return "its caller drives it and is alive", f"counts as dead at {_clock(facts.owner_until, facts.now)} unless it says otherwise"
    return "the process that drove it is gone", _look("parks it", facts)


def _running(facts: SagaFacts) -> Found:
    step = facts.step
    if step is None or step.lease_until is None:
        return None
    if step.lease_until <= facts.now:
        return f"nothing was heard of {_named(step)} before its lease ended at {_clock(step.lease_until, facts.now)}", _look(
            "gives it up", facts
        )
    given_up = f"it is given up at {_clock(step.lease_until, facts.now)}"
    if step.child:
        return f"{_named(step)} waits for the child saga {step.child}", "the child's end is taken up when it comes"
    if step.queue is not None and step.queue.is_unread:
        return _unread(step.queue, facts.now), given_up
    if step.queue is not None and step.queue.ready:
        return f"{_named(step)} was sent to queue {step.queue.name}, in which {step.queue.ready} messages wait", given_up
    renewed = "" if step.queue else " unless its worker says before that it is alive"
    return f"{_named(step)} runs: {step.call}", given_up + renewed


def _blocked(facts: SagaFacts) -> Found:
    if facts.blocked_at is None:
        return None
    queue = facts.step.queue if facts.step else None
    because = _unread(queue, facts.now) if queue is not None and queue.is_unread else facts.blocked_reason
    if facts.patience_sec is None:
        return because, _next_look(facts)
    return because, f"the sweeper parks it at {_clock(facts.blocked_at + facts.patience_sec, facts.now)}"


def _for_a_word(facts: SagaFacts) -> Found:
    step = facts.step
    if step is None or not step.waiting_for or step.due_at is None:
        return None
    if step.waiting_for == "timer":
        return f"{_named(step)} is a timer", f"it ends at {_clock(step.due_at, facts.now)}"
    because = f"{_named(step)} waits for {step.waiting_for}"
    return f"{because}, but {step.deaf}" if step.deaf else because, f"it is given up at {_clock(step.due_at, facts.now)}"


def _for_its_next_try(facts: SagaFacts) -> Found:
    step = facts.step
    if step is None or step.due_at is None or step.due_at <= facts.now:
        return None
    if step.circuit is not None:
        return _open(step.circuit, facts.now), f"{_named(step)} is tried again at {_clock(step.due_at, facts.now)}"
    then = f"try {step.tries + 1} of {step.most_tries} is at {_clock(step.due_at, facts.now)}"
    if step.error:
        return f"{_named(step)} failed ({step.error})", then
    return f"{_named(step)} is held: {step.held}" if step.held else f"{_named(step)} is not due yet", then


def _not_picked_up(facts: SagaFacts) -> Found:
    queue = facts.messages
    if queue is None:
        return None
    if queue.is_unread:
        return _unread(queue, facts.now), "it goes on when a worker of the hub reads it"
    if queue.ready:
        return f"its message is one of {queue.ready} in queue {queue.name}", _next_look(facts)
    return None


_RULES: tuple[Callable[[SagaFacts], Found], ...] = (
    _driven_by_caller,
    _running,
    _blocked,
    _for_a_word,
    _for_its_next_try,
    _not_picked_up,
)


def why_request(facts: RequestFacts) -> Why | None:
    """Return what became of a request, or where it waits; None when it left no trace."""
    if facts.place_in_queue is not None and facts.queue is not None:
        return _queued_request(facts, facts.queue, facts.place_in_queue)
    if facts.claimed_until is not None:
        return _claimed_request(facts, facts.claimed_until)
    if facts.ended and facts.ended_at is not None:
        return Why(headline=f"not stuck: ended {_lasting(facts.now - facts.ended_at)} ago", because=facts.ended)
    if facts.result:
        return Why(headline=f"not stuck: its result is {facts.result}")
    return None


def _queued_request(facts: RequestFacts, queue: QueueFacts, place: int) -> Why:
    headline = "waiting" if facts.sent_at is None else f"waiting {_lasting(facts.now - facts.sent_at)}"
    if queue.is_unread:
        return Why(headline=headline, because=_unread(queue, facts.now), then="it goes on when a worker reads that queue")
    return Why(headline=headline, because=f"its message is number {place} of {queue.ready} in queue {queue.name}")


def _claimed_request(facts: RequestFacts, until: float) -> Why:
    if until <= facts.now:
        because = f"the process that sent it was lost; its claim ended at {_clock(until, facts.now)}"
        return Why(headline="not under way any more", because=because, then="asked for again under its key, it is sent again")
    return Why(headline="under way", because="a worker has it", then=f"its key is free again at {_clock(until, facts.now)} at the latest")


def _unread(queue: QueueFacts, now: float) -> str:
    since = f" since {_clock(queue.last_read_at, now)}" if queue.last_read_at is not None else " and had none in the last 30 days"
    return f"queue {queue.name} has no consumer{since}"


def _open(circuit: CircuitFacts, now: float) -> str:
    until = f" until {_clock(circuit.until, now)}" if circuit.until else ""
    why = f" ({circuit.why})" if circuit.why else ""
    return f"the circuit of {circuit.service} is {circuit.state.replace('_', ' ')}{until}{why}"


def _named(step: StepFacts) -> str:
    return f"the undo of {step.step_id}" if step.undoing else f"step {step.step_id}"


def _next_look(facts: SagaFacts) -> str:
    return _look("looks again", facts)


def _look(does: str, facts: SagaFacts) -> str:
    """Say when the sweeper acts; one that is far too late is not there."""
    at = max(facts.next_wake_at or facts.now, facts.now)
    late_sec = facts.now - (facts.next_wake_at or facts.now)
    if late_sec > LATE_LOOKS * facts.sweep_sec:
        return f"the sweeper should have looked {_lasting(late_sec)} ago: is `manage.py relay` running?"
    deadline = "" if facts.deadline_at is None else f" (the saga's time is over at {_clock(facts.deadline_at, facts.now)})"
    return f"the sweeper {does} at {_clock(at, facts.now)}{deadline}"


def _clock(moment: float, now: float) -> str:
    """Return a moment as a person reads it, in UTC: the time of day, with its date where that is not today's."""
    at, today = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(now, UTC).date()
    return f"{at:%H:%M:%S}" if at.date() == today else f"{at:%Y-%m-%d %H:%M:%S}"


def _lasting(seconds: float) -> str:
    whole = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
