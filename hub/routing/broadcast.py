"""One request to many services: side by side, one deadline for all, a typed outcome for each."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, as_completed, wait
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connections

from hub.errors import CircuitOpen, ErrorCode, IntegrationError, RequestFailed
from hub.routing import endings, history, quorum, services, threads, transport
from hub.routing.attempts import Run
from hub.routing.context import RequestContext
from hub.routing.endings import Ending
from hub.routing.values import BroadcastOutcome
from hub.telemetry import conventions, tracing
from registry_app import lookup
from registry_app.values import check_name

log = logging.getLogger(__name__)

GRACE_SEC = 0.5
"""How long a cancelled or late request may take to notice."""

_UNAVAILABLE = frozenset({ErrorCode.SERVICE_NOT_FOUND, ErrorCode.SERVICE_DISABLED, ErrorCode.NO_HEALTHY_INSTANCE})
_TIMEOUTS = frozenset({ErrorCode.TIMED_OUT_BEFORE_SEND, ErrorCode.TIMED_OUT_AFTER_SEND, ErrorCode.DEADLINE_PASSED})


def broadcast(
    service_names: Sequence[str],
    method: str,
    path: str,
    *,
    data: Any = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    policy: str = "all",
    context: RequestContext | None = None,
    deadline: datetime | None = None,
    queued_sec: float = 0.0,
) -> dict[str, BroadcastOutcome]:
    """Send a request to every service and return the outcome of each, by name.

    `policy` says when enough have answered: ``all``, ``any``, ``majority`` or ``first:n`` good answers. Who has not
    answered then is cancelled, and its outcome says so. A service that fails is an outcome, never an exception.

    Errors: E11308 names, E11363 too many, E11902 policy, and those of `hub.routing.request.build`.
    """
    names = _check_names(service_names)
    enough = quorum.needed("all" if policy is None else policy, len(names))
    request = services.build(service_name=names[0], method=method, path=path, data=data, params=params, headers=headers, timeout=timeout)
    around = services.context_of(request, context)
    until = time.monotonic() + services.time_allowed(request.timeout_sec, deadline)
    with (
        tracing.correlated(around.correlation_id),
        tracing.span(
            f"broadcast {request.method} {request.path}", traceparent=around.traceparent, attributes={conventions.TARGETS: len(names)}
        ),
    ):
        inner = around.child(tracing.traceparent())
        runs = [
            Run(request=replace(request, service_name=name), context=inner, deadline=until, queued_ms=queued_sec * 1000) for name in names
        ]
        endings_ = _side_by_side(runs, enough)
    history.record(list(endings_.values()), breaker_moved=any(run.breaker_moved for run in runs))
    has_enough = sum(ending.error is None for ending in endings_.values()) >= enough
    return {name: _outcome(name, endings_.get(name), has_enough=has_enough) for name in names}


def _check_names(service_names: object) -> list[str]:
    if not isinstance(service_names, list | tuple):
        message = f"service_names must be a list of names, not {type(service_names).__name__}"
        raise IntegrationError(ErrorCode.TARGETS_INVALID, message)
    if not service_names:
        raise IntegrationError(ErrorCode.TARGETS_INVALID)
    limit = settings.HUB.broadcast_max_targets
    if len(service_names) > limit:
        raise IntegrationError(ErrorCode.TOO_MANY_TARGETS, f"{len(service_names)} services, the limit is {limit}")
    names = [check_name(name) for name in service_names]
    if len(set(names)) < len(names):
        raise IntegrationError(ErrorCode.TARGETS_INVALID, "a service is named twice")
    return names


def _side_by_side(runs: list[Run], enough: int) -> dict[str, Ending]:
    """Perform all runs at once until enough gave a good answer; then cancel the rest and say how each ended."""
    transport.session()  # built once, not by each thread
    for run in runs:
        _warm(run.request.service_name)
    futures: dict[Future[Ending], Run] = {}
    with threads.lent(futures) as pool:
        for run in runs:
            futures[pool.submit(contextvars.copy_context().run, _conclude, run)] = run
        for future in _until_enough(futures, enough, runs[0].deadline):
            futures[future].cancellation.cancel()
        done = wait(futures, timeout=GRACE_SEC).done
    return {futures[future].request.service_name: future.result() for future in done}


def _warm(service_name: str) -> None:
    """Look the name up in this thread, so that the others find the registry's copy fresh."""
    try:
        lookup.find(service_name)
    except IntegrationError:
        return  # its own run will say so


def _until_enough(futures: Collection[Future[Ending]], enough: int, deadline: float) -> list[Future[Ending]]:
    """Wait for enough good answers, but no longer than the deadline, and return what has not ended then."""
    good, left = 0, max(0.0, deadline + GRACE_SEC - time.monotonic())
    if enough == len(futures):
        return list(wait(futures, timeout=left).not_done)  # to look at each answer as it comes would decide nothing
    with suppress(TimeoutError):
        for future in as_completed(futures, timeout=left):
            good += future.result().error is None
            if good == enough:
                break
    return [future for future in futures if not future.done()]


def _conclude(run: Run) -> Ending:
    try:
        return _performed(run)
    except Exception as exc:
        # What nobody thought of is the outcome of this service; the others keep theirs.
        log.exception("a request of a broadcast broke", extra={"service": run.request.service_name})
        return endings.broken(run, exc)


def _performed(run: Run) -> Ending:
    try:
        return endings.conclude(run)
    finally:
        connections.close_all()


def _outcome(name: str, ending: Ending | None, *, has_enough: bool) -> BroadcastOutcome:
    error = _unheard(name, has_enough=has_enough) if ending is None else ending.error
    return BroadcastOutcome(service_name=name, kind=_kind(error), result=ending.result if ending else None, error=error)


def _unheard(name: str, *, has_enough: bool) -> RequestFailed:
    """Say of a request that did not even notice its end why nobody waits for it."""
    if has_enough:
        return RequestFailed(ErrorCode.REQUEST_CANCELLED, f"{name} had not answered when enough others had", outcome="unknown")
    return RequestFailed(ErrorCode.TIMED_OUT_AFTER_SEND, f"{name} had not answered at the deadline", outcome="unknown")


def _kind(error: IntegrationError | None) -> str:
    if error is None:
        return "ok"
    if error.code is ErrorCode.REQUEST_CANCELLED:
        return "cancelled"
    if isinstance(error, CircuitOpen):
        return "circuit_open"
    if error.code in _UNAVAILABLE:
        return "unavailable"
    if error.code in _TIMEOUTS:
        return "timeout"
    return "refused" if error.code is ErrorCode.UPSTREAM_CLIENT_ERROR else "failed"
