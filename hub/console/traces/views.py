"""Pages of the traces: the list, one trace as a waterfall, and the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from hub.console import pages
from hub.console.traces import compare, find, waterfall
from hub.telemetry import store
from hub.telemetry.models import Span
from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets
from hub.telemetry.values import TraceSpan
from sagas.models import SagaExecution
from sagas.states import SagaStatus

PERMISSION = "telemetry.view_span"
MAX_ROWS = 1_000
RECENT = 20


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List the newest traces that match."""
    pages.check_may(request, PERMISSION)
    wanted = _filter(request)
    page = find.find(wanted)
    older = urlencode({**request.GET.dict(), "before": page.older.isoformat()}) if page.older else ""
    return pages.render(
        request, "console/traces.html", title="Traces", page=page, wanted=wanted, services=find.services(page.lines), older=older
    )


@require_safe
def show(request: HttpRequest, trace_id: str) -> HttpResponse:
    """Show a trace as a waterfall."""
    spans = _spans(request, trace_id)
    shown, service = waterfall.build(spans, keep=_keep(request)), request.GET.get("service", "")
    return pages.render(
        request,
        "console/trace.html",
        title=f"Trace {trace_id[:8]}",
        trace_id=trace_id,
        waterfall=shown,
        rows=shown.rows[:MAX_ROWS],
        cut=max(0, len(shown.rows) - MAX_ROWS),
        filters=_filters(errors_only=_errors_only(request), service=service, services=shown.services),
        sagas=_sagas(request, trace_id),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A filter as a link: what it says, where it leads, and whether it is in force; chosen again, it is taken back."""

    words: str
    query: str
    is_on: bool


def _filters(*, errors_only: bool, service: str, services: Iterable[str]) -> list[Choice]:
    """Return the filters of a waterfall: each changes one thing and keeps the rest."""

    def query(*, errors: bool, of: str) -> str:
        return urlencode({name: text for name, text in (("errors", "1" if errors else ""), ("service", of)) if text})

    everything = Choice(words="All", query="", is_on=not errors_only and not service)
    errors = Choice(words="Errors only", query=query(errors=not errors_only, of=service), is_on=errors_only)
    by_service = [
        Choice(words=name, query=query(errors=errors_only, of="" if name == service else name), is_on=name == service) for name in services
    ]
    return [everything, errors, *by_service]


@require_safe
def compare_with_good(request: HttpRequest, trace_id: str) -> HttpResponse:
    """Show how a saga's trace differs from that of the last good run of the same saga."""
    spans = _spans(request, trace_id)
    runs = _sagas(request, trace_id)
    good = _last_good(runs[0]) if runs else None
    return pages.render(
        request,
        "console/trace_compare.html",
        title=f"Trace {trace_id[:8]} beside a good one",
        trace_id=trace_id,
        run=runs[0] if runs else None,
        good=good,
        differences=compare.compare(spans, store.trace(good.trace_id)) if good else [],
    )


def _last_good(run: SagaExecution) -> SagaExecution | None:
    """Return the newest run of the same saga that completed and whose trace is still kept, of the last few."""
    completed = SagaExecution.objects.filter(saga_name=run.saga_name, status=SagaStatus.COMPLETED.value).exclude(pk=run.pk)
    newest = list(completed.only("id", "saga_name", "status", "trace_id", "created_at").order_by("-created_at")[:RECENT])
    kept = set(Span.objects.filter(trace_id__in=[one.trace_id for one in newest]).values_list("trace_id", flat=True).distinct())
    return next((one for one in newest if one.trace_id in kept), None)


@require_safe
def download(request: HttpRequest, trace_id: str) -> HttpResponse:
    """Return the spans of a trace as JSON, to keep or to hand on."""
    spans = _spans(request, trace_id)
    redactor = Redactor(known_secrets())
    body = {"trace_id": trace_id, "spans": [_plain(span, redactor) for span in spans]}
    return JsonResponse(body, headers={"Content-Disposition": f'attachment; filename="trace-{trace_id}.json"'})


def _spans(request: HttpRequest, trace_id: str) -> list[TraceSpan]:
    pages.check_may(request, PERMISSION)
    spans = store.trace(trace_id)
    if not spans:
        raise Http404(f"no spans of trace {trace_id}: it may be older than the retention")
    return spans


def _plain(span: TraceSpan, redactor: Redactor) -> dict[str, Any]:
    """Return a span as JSON; spans are redacted before they are stored, and once more by the secrets known now."""
    found: dict[str, Any] = redactor.value(span.to_dict())
    return found


def _errors_only(request: HttpRequest) -> bool:
    return request.GET.get("errors") == "1"


def _keep(request: HttpRequest) -> Callable[[TraceSpan], bool]:
    errors_only, service = _errors_only(request), request.GET.get("service", "")
    return lambda span: (not errors_only or span.status == "error") and (not service or span.service_name == service)


def _sagas(request: HttpRequest, trace_id: str) -> list[SagaExecution]:
    if not request.user.has_perm("sagas.view_sagaexecution"):
        return []
    return list(SagaExecution.objects.filter(trace_id=trace_id).only("id", "saga_name", "status").order_by("-created_at")[:10])


def _filter(request: HttpRequest) -> find.Filter:
    """Read the filter from the address; what cannot be read filters nothing."""
    given = request.GET
    return find.Filter(
        service=given.get("service", "").strip()[:255],
        errors_only=_errors_only(request),
        min_ms=_number(given.get("min_ms", "")),
        known_as=given.get("q", "").strip()[:128],
        before=_moment(given.get("before", "")),
    )


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1e9)
    except ValueError:
        return 0.0


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):  # the second: a moment that lies beyond the calendar in UTC
        return None
