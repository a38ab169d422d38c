"""Make one request happen: choose, send, judge, and again where that is safe. Touches no table of its own."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from django.conf import settings

from hub.circuits import breaker, verdicts
from hub.circuits.fleet import Permit
from hub.errors import ErrorCode, IntegrationError, RequestFailed
from hub.routing import answers, paths, queues, retries, transport
from hub.routing.budget import budget
from hub.routing.context import RequestContext
from hub.routing.request import Request
from hub.routing.retries import RetryPolicy
from hub.routing.values import Answer, Attempt
from hub.telemetry import metrics
from registry_app import lookup, outcomes
from registry_app.lookup import Instance
from registry_app.wire import Call

LEASE_GRACE_SEC = 1.0
"""How long after its deadline a probe may still report."""


class Cancellation:
    """Lets one thread end the request that another one makes, wherever it waits."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._call: Call | None = None

    @property
    def was_asked(self) -> bool:
        """Tell whether the request was cancelled."""
        return self._asked.is_set()

    def cancel(self) -> None:
        """End the request now."""
        self._asked.set()
        if self._call is not None:
            self._call.cancel()

    def watch(self, call: Call) -> None:
        """Remember the exchange that `cancel` must end."""
        self._call = call
        if self.was_asked:
            call.cancel()

    def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until `cancel`."""
        self._asked.wait(seconds)


@dataclass(kw_only=True, slots=True)
class Run:
    """A request under way; `deadline` is in seconds of ``time.monotonic`` and covers all attempts."""

    request: Request
    context: RequestContext
    deadline: float
    prefer_service_id: str | None = None
    extra_headers: dict[str, str] = field(default_factory=dict)
    cancellation: Cancellation = field(default_factory=Cancellation)
    attempts: list[Attempt] = field(default_factory=list)
    failed_ids: set[str] = field(default_factory=set)
    failure: RequestFailed | None = None
    breaker_moved: bool = False
    """This request made the breaker change its state."""
    claimed_until: datetime | None = None
    """Until when the idempotency key is this run's."""
    queued_ms: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def time_left(self) -> float:
        """Return the seconds left; E11309 when none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise IntegrationError(ErrorCode.DEADLINE_PASSED, "the deadline passed before anything was sent")
        return left


def perform(run: Run) -> Answer:
    """Return the first good answer; otherwise raise what the last attempt that was made failed with.

    Its ``outcome`` is ``unknown`` as soon as one attempt ended so: a later refusal does not undo what may have happened.
    """
    budget.earn(run.request.service_name)
    policy, wait_sec = RetryPolicy(max_attempts=settings.HUB.request_max_attempts), 0.0
    while True:
        try:
            return _attempt(run, wait_sec)
        except RequestFailed as exc:
            run.failure, next_wait_sec = exc, _wait_before_next(run, exc, policy)
        except IntegrationError:
            if run.failure is None:
                raise
            next_wait_sec = None  # nothing was sent this time, but the attempt before may have had its effect
        if next_wait_sec is None:
            raise _with_worst_outcome(run.failure, run)
        wait_sec = next_wait_sec
        metrics.increment("hub_request_retries_total", service=run.request.service_name)
        run.cancellation.sleep(wait_sec)


def _attempt(run: Run, waited_sec: float) -> Answer:
    """Resolve the instance, ask the breaker, send, judge, report."""
    instance = _choose(run)
    left = run.time_left()
    permit = breaker.admit(run.request.service_name, lease_sec=left + LEASE_GRACE_SEC, patience_sec=left / 2)
    note = _Notes(
        service_id=instance.service_id,
        why=_why(run, instance),
        waited_ms=round(waited_sec * 1000, 1),
        breaker=permit.breaker_state,
        task_id="" if instance.takes_requests else str(uuid4()),
    )
    started, failed = time.monotonic(), None
    try:
        with lookup.using(instance):
            note.answer = _send(run, instance, note.task_id)
        request = run.request
        answers.check(note.answer, service_name=request.service_name, method=request.method, path=request.path, now=datetime.now(UTC))
        return note.answer
    except BaseException as exc:
        failed = exc
        run.failed_ids.add(instance.service_id)
        raise
    finally:
        run.attempts.append(note.as_attempt(failed))
        _report(run, instance, permit, failed, time.monotonic() - started)


def _report(run: Run, instance: Instance, permit: Permit, failed: BaseException | None, duration_sec: float) -> None:
    """Tell the breaker how it went, and the registry, which weighs instances by it."""
    judgement = verdicts.judge(failed) if failed else verdicts.GOOD
    if isinstance(failed, RequestFailed) and failed.status_code in verdicts.SOFT_STATUSES:
        judgement = replace(judgement, retry_after_sec=failed.details.get("retry_after_sec"))
    run.breaker_moved |= breaker.settle(permit, judgement, duration_sec=duration_sec)
    if judgement.ok is not None:
        outcomes.report(instance.service_id, ok=judgement.ok)


def _choose(run: Run) -> Instance:
    """Choose an instance, and rather one that has not just failed."""
    run.time_left()
    return lookup.choose(run.request.service_name, prefer_service_id=run.prefer_service_id, for_requests=False, avoid=run.failed_ids)


def _why(run: Run, instance: Instance) -> str:
    if instance.service_id == run.prefer_service_id:
        return "asked for"
    if instance.last_resort:
        return "last resort: no instance is well"
    return f"{instance.status.value}, weight {instance.weight}, {lookup.in_flight(instance.service_id)} in flight"


def _send(run: Run, instance: Instance, task_id: str) -> Answer:
    hub = settings.HUB
    call = Call(deadline=run.deadline, max_received=hub.request_max_answer_bytes + transport.FRAMING_BYTES)
    run.cancellation.watch(call)
    if task_id:
        return queues.exchange(call, run.request, endpoint=instance.endpoint, headers=_headers(run), task_id=task_id)
    return transport.exchange(
        call,
        method=run.request.method,
        url=paths.join(instance.endpoint, run.request.target),
        headers=_headers(run),
        body=run.request.body,
        max_answer_bytes=hub.request_max_answer_bytes,
        verify=hub.request_ca_file or True,
    )


def _headers(run: Run) -> dict[str, str]:
    own = {"x-request-deadline": f"{run.time_left():.3f}"}
    if run.request.idempotency_key:
        own["idempotency-key"] = run.request.idempotency_key
    if credential := settings.HUB.credential_of(run.request.service_name):
        own["authorization"] = credential
    return run.request.headers | run.extra_headers | run.context.to_headers() | own


def _wait_before_next(run: Run, error: RequestFailed, policy: RetryPolicy) -> float | None:
    """Return the seconds to wait before the next attempt, or None when there must not be one."""
    if len(run.attempts) >= policy.max_attempts or run.cancellation.was_asked:
        return None
    if not retries.may_repeat(error, is_repeatable=run.request.is_repeatable):
        return None
    asked_for = error.details.get("retry_after_sec")
    wait_sec = retries.delay_sec(policy, attempt=len(run.attempts), random=random.random(), retry_after_sec=asked_for)  # noqa: S311
    if wait_sec >= run.deadline - time.monotonic():
        return None
    if not budget.spend(run.request.service_name):
        metrics.increment("hub_request_retries_denied_total", service=run.request.service_name)
        return None
    return wait_sec


def _with_worst_outcome(error: RequestFailed, run: Run) -> RequestFailed:
    """Say of the whole request what its attempts leave open: one that a server failed at may have had its effect too."""
    earlier_failed = any((attempt.status_code or 0) >= 500 for attempt in run.attempts) and (error.status_code or 0) < 500
    if earlier_failed or any(attempt.outcome == "unknown" for attempt in run.attempts):
        error.outcome = "unknown"
    if error.outcome == "unknown" and not error.recovery_suggestion:
        error.advise(retries.advice(has_key=bool(run.request.idempotency_key), is_repeatable=run.request.is_repeatable))
    return error


@dataclass(kw_only=True, slots=True)
class _Notes:
    """What is known of an attempt while it runs."""

    service_id: str
    why: str
    waited_ms: float
    breaker: str
    task_id: str
    answer: Answer | None = None

    def as_attempt(self, error: BaseException | None) -> Attempt:
        answer = self.answer
        return Attempt(
            service_id=self.service_id,
            why=self.why,
            waited_ms=self.waited_ms,
            breaker=self.breaker,
            task_id=self.task_id,
            outcome=_outcome(error),
            code=str(getattr(error, "code", "")),
            status_code=answer.status_code if answer else getattr(error, "status_code", None),
            connect_ms=round(answer.connect_sec * 1000, 1) if answer else 0.0,
            server_ms=round(answer.server_sec * 1000, 1) if answer else 0.0,
        )


def _outcome(error: BaseException | None) -> str:
    if isinstance(error, RequestFailed):
        return error.outcome
    if isinstance(error, IntegrationError):
        return "nothing_sent"  # a refusal of the hub's own, before it sent
    return "ok" if error is None else "unknown"
