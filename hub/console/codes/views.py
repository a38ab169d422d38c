"""Pages of the error codes: what each means, what to do, and how often it came up lately."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from hub.console import pages
from hub.console.codes import advice, lately
from hub.error_codes import ErrorCode


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
        lately=lately.count(str(found), now=timezone.now(), may=request.user.has_perm),
        windows=lately.WINDOWS,
        read=lately.READ,
    )
