"""Pages of the error codes: what each means, what to do, and how often it came up lately."""

from __future__ import annotations

from datetime import timedelta

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from hub.console import pages
from hub.console.codes import advice
from hub.error_codes import ErrorCode
from hub.events.models import DeadLetter
from sagas.models import SagaExecution
from sagas.states import SagaStatus

LATELY = timedelta(days=1)
SAMPLE = 500
_ENDED_BADLY = [SagaStatus.NEEDS_OPERATOR.value, SagaStatus.FAILED.value, SagaStatus.COMPENSATED.value]


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """List all codes, or those with a word."""
    search = request.GET.get("q", "")[:100]
    return pages.render(request, "console/error_codes.html", title="Error codes", codes=advice.everything(search), search=search)


@require_safe
def show(request: HttpRequest, code: str) -> HttpResponse:
    """Explain one code."""
    found = next((one for one in ErrorCode if str(one) == code.upper()), None)
    if found is None:
        raise Http404(code)
    return pages.render(
        request,
        "console/error_code.html",
        title=f"{found}: {found.text}",
        advice=advice.on(found),
        lately=_lately(request, str(found)),
        sample=SAMPLE,
    )


def _lately(request: HttpRequest, code: str) -> dict[str, int]:
    """Count a code among the newest few hundred that went wrong in the last day: bounded, whatever the tables hold."""
    since = timezone.now() - LATELY
    counts = {}
    if request.user.has_perm("sagas.view_sagaexecution"):
        newest = SagaExecution.objects.filter(status__in=_ENDED_BADLY, created_at__gte=since).order_by("-created_at")
        counts["sagas"] = sum(1 for error in newest.values_list("error", flat=True)[:SAMPLE] if error and error.get("code") == code)
    if request.user.has_perm("events.view_deadletter"):
        open_letters = DeadLetter.objects.filter(status=DeadLetter.Status.OPEN, last_at__gte=since).order_by("-last_at")
        counts["dead letters"] = list(open_letters.values_list("error_code", flat=True)[:SAMPLE]).count(code)
    return counts
