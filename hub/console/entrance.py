"""What holds for every page: what no table could be asked for is refused with a code, before or after a view has tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse

from hub.console.failures import page_refused
from hub.errors import ErrorCode, IntegrationError

_BEYOND = (OverflowError, DataError, ValidationError)


class PageEntrance:
    """Middleware, the last: a form without its CSRF token has been refused before, and no view has begun."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request."""
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Refuse NUL: no text of ours holds it, and Postgres cannot even be asked for it. E11912 in the address, E11905 in a form."""
        if _address_holds_nul(request):
            return page_refused(IntegrationError(ErrorCode.QUERY_PARAMETER_INVALID, "the address holds the character NUL"))
        # A view that is exempt from the CSRF check takes no forms, and reads its body by itself.
        if not getattr(view, "csrf_exempt", False) and _form_holds_nul(request):
            return page_refused(IntegrationError(ErrorCode.JSON_VALUE_REFUSED, "the form holds the character NUL"))
        return None

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        """Refuse what a list of the admin hands on to the database as it came, such as a number of thirty digits: E11912."""
        is_list = request.resolver_match is not None and (request.resolver_match.url_name or "").endswith("_changelist")
        if is_list and (request.GET or request.POST) and isinstance(exc, _BEYOND):
            return page_refused(IntegrationError(ErrorCode.QUERY_PARAMETER_INVALID, "a value is none that the rows of this list can have"))
        return None


def _address_holds_nul(request: HttpRequest) -> bool:
    """Tell whether NUL is in the path, or in the query as it was sent."""
    query = request.META.get("QUERY_STRING", "")
    return "\0" in request.path_info or "\0" in query or "%00" in query


def _form_holds_nul(request: HttpRequest) -> bool:
    return any("\0" in text for name, values in request.POST.lists() for text in (name, *map(str, values)))
