"""How long each list and each page of one thing takes, on a few rows and on many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from hub.bench import load
from hub.bench.load import Counts
from hub.console.bulk import operations
from hub.console.bulk.choices import CHOICES
from hub.console.models import BatchOperation, OperatorAction
from hub.events.models import DeadLetter, Event, Subscription
from hub.routing.models import RoutedRequest
from hub.telemetry.models import Span
from registry_app.models import Service
from sagas.models import SagaExecution

REPEATS = 9
MAX_QUERIES, MAX_RATIO = 25, 1.5
LIMIT_MS: Mapping[str, float] = {"postgresql": 300.0, "sqlite": 500.0}
NOISE_MS = 15.0
"""Below this difference a ratio says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a page took: the median in milliseconds, and its queries."""

    ms: float
    queries: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A page on a few rows and on many."""

    name: str
    few: Taken
    many: Taken

    @property
    def ratio(self) -> float:
        """Return how many times longer it takes on many rows."""
        return self.many.ms / self.few.ms if self.few.ms else 1.0

    def misses(self, limit_ms: float) -> list[str]:
        """Return what it does not keep to."""
        found = []
        if self.many.ms > limit_ms:
            found.append(f"over {limit_ms:g} ms")
        if self.ratio > MAX_RATIO and self.many.ms - self.few.ms > NOISE_MS:
            found.append(f"ratio over {MAX_RATIO:g}")
        if self.many.queries > MAX_QUERIES:
            found.append(f"over {MAX_QUERIES} queries")
        if self.many.queries > self.few.queries:
            found.append("queries grow with the rows")
        return found


def compare(*, few: Counts, many: Counts, say: Callable[[str], None] = lambda text: None) -> list[Line]:
    """Fill an empty database with a few rows, measure, add the rest, measure again."""
    load.load(few)
    draw_up_an_operation()
    browser = _browser()
    say("measuring on a few rows")
    before = measure(browser)
    load.load(many.minus(few), say=say)
    say("measuring on many rows")
    after = measure(browser)
    return [Line(name=name, few=before[name], many=after[name]) for name in after]


def measure(browser: Client) -> dict[str, Taken]:
    """Return what all pages take now."""
    return {name: take(browser, url) for name, url in addresses().items()}


def count_queries(browser: Client, *, only: Collection[str] = ()) -> dict[str, int]:
    """Return how many queries each page makes now, or only some of them."""
    counts = {}
    for name, url in ((name, url) for name, url in addresses().items() if not only or name in only):
        with CaptureQueriesContext(connection) as seen:
            _open(browser, url)
        counts[name] = len(seen)
    return counts


def take(browser: Client, url: str) -> Taken:
    """Return what a page takes now."""
    _open(browser, url)
    with CaptureQueriesContext(connection) as seen:
        _open(browser, url)
    queries = len(seen)  # now: the next request empties the list
    return Taken(ms=statistics.median(_open(browser, url) for _ in range(REPEATS)), queries=queries)


def _open(browser: Client, url: str) -> float:
    began = time.perf_counter()
    answer = browser.get(url)
    took_ms = (time.perf_counter() - began) * 1000
    if answer.status_code != 200:
        raise RuntimeError(f"{url} answered {answer.status_code}")
    return took_ms


def _browser() -> Client:
    user = get_user_model().objects.create_superuser("bench")
    browser = Client()
    browser.force_login(user)
    return browser


def draw_up_an_operation() -> None:
    """Make an operation on many things, so that its page has something to show."""
    letters = DeadLetter.objects.filter(status="open").order_by("-id")[: operations.MAX_ITEMS]
    operations.draw_up(CHOICES["dead-letter", "replay"], [(str(one.pk), str(one), one.status) for one in letters], by="bench")


def addresses() -> dict[str, str]:
    """Return each list, with the filters that people use, and a page of each kind of thing."""
    sagas = _list("sagas_sagaexecution")
    newest = SagaExecution.objects.order_by("-created_at")
    run, oldest = newest[0], SagaExecution.objects.order_by("created_at")[0]
    parked = newest.filter(status="needs_operator")[0]
    traces, letters = reverse("console:traces"), _list("events_deadletter")
    letter = DeadLetter.objects.filter(status="open").order_by("-last_at")[0]
    span = Span.objects.order_by("-start")[0]
    return {
        "overview": reverse("admin:index"),
        "sagas": sagas,
        **{f"sagas: {preset}": _with(sagas, show=preset) for preset in ("needs-operator", "stuck", "failed-today", "running", "waiting")},
        "sagas: completed": _with(sagas, status__exact="completed"),
        "sagas: of one definition": _with(sagas, saga="bench_1"),
        "sagas: failed of one": _with(sagas, saga="bench_1", status__exact="failed"),
        "sagas: by correlation id": _with(sagas, q=oldest.correlation_id),
        "sagas: page 15": _with(sagas, p=min(15, len(newest[:750]) // 50)),
        "saga: newest": _one("sagas_sagaexecution", run.pk),
        "saga: oldest": _one("sagas_sagaexecution", oldest.pk),
        "saga: needs an operator": _one("sagas_sagaexecution", parked.pk),
        "saga: dry run": reverse("console:saga-plan", args=[parked.pk]),
        "traces": traces,
        "traces: of a service": _with(traces, service=load.service(7)),
        "traces: with errors": _with(traces, errors=1),
        "traces: by correlation id": _with(traces, q=span.correlation_id),
        "trace": reverse("console:trace", args=[span.trace_id]),
        "spans": _list("telemetry_span"),
        "spans: failed": _with(_list("telemetry_span"), status__exact="error"),
        "span": _one("telemetry_span", span.pk),
        "requests": _list("routing_routedrequest"),
        "requests: gone wrong": _with(_list("routing_routedrequest"), outcome__exact="unknown"),
        "requests: of a service": _with(_list("routing_routedrequest"), service=load.service(7)),
        "request": _one("routing_routedrequest", RoutedRequest.objects.order_by("-id")[0].pk),
        "services": _list("registry_service"),
        "service": _one("registry_service", Service.objects.order_by("id")[0].pk),
        "health changes": _list("registry_healthchange"),
        "breakers": reverse("console:circuits"),
        "breaker": reverse("console:circuit", args=[load.service(7)]),
        "breaker transitions": _list("circuits_circuittransition"),
        "causes": reverse("console:causes"),
        "cause": reverse("console:cause", args=[letter.fingerprint]),
        "dead letters": letters,
        "dead letters: open": _with(letters, status__exact="open"),
        "dead letters: of a subscription": _with(letters, subscription__id__exact=letter.subscription_id),
        "dead letter": _one("events_deadletter", letter.pk),
        "events": _list("events_event"),
        "events: of a topic": _with(_list("events_event"), q="agent.t7"),
        "event": _one("events_event", Event.objects.order_by("-id")[0].pk),
        "deliveries": _list("events_delivery"),
        "deliveries: dead": _with(_list("events_delivery"), status__exact="dead"),
        "subscriptions": _list("events_subscription"),
        "subscription": _one("events_subscription", Subscription.objects.order_by("id")[0].pk),
        "routes": _list("events_topicroute"),
        "topics": _list("events_topic"),
        "queues": reverse("console:queues"),
        "what operators did": _list("console_operatoraction"),
        "one thing an operator did": _one("console_operatoraction", OperatorAction.objects.order_by("-id")[0].pk),
        "batch operations": _list("console_batchoperation"),
        "batch operation": _one("console_batchoperation", BatchOperation.objects.order_by("-created_at")[0].pk),
        "error codes": reverse("console:error-codes"),
        "error code": reverse("console:error-code", args=["E11440"]),
    }


def _list(model: str) -> str:
    return reverse(f"admin:{model}_changelist")


def _one(model: str, pk: Any) -> str:
    return reverse(f"admin:{model}_change", args=[pk])


def _with(url: str, **query: Any) -> str:
    return f"{url}?{urlencode(query)}"
