"""Whatever goes wrong in an operation becomes a problem with a code; nothing of the inside shows."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from hub.errors import ErrorCode, IntegrationError
from hub.outages import outage
from hub.telemetry import problems

log = logging.getLogger(__name__)

_BY_KIND = {"missing": ErrorCode.ARGUMENT_MISSING, "extra_forbidden": ErrorCode.ARGUMENT_UNKNOWN}
_BY_PLACE = {"query": ErrorCode.QUERY_PARAMETER_INVALID, "path": ErrorCode.IDENTIFIER_MALFORMED}

_OUR_PARAMETERS = ("body", "query")


def handle(api: NinjaAPI) -> None:
    """Let the API answer every exception with a problem."""
    api.add_exception_handler(Exception, _answer)
    for kind in (HttpError, Http404, ValidationError):  # Ninja has handlers of its own for these
        api.add_exception_handler(kind, _answer)


def _answer(request: HttpRequest, exc: Any) -> HttpResponse:
    return problems.answer(refusal_of(exc))


def refusal_of(exc: Exception) -> IntegrationError:
    """Return what the caller is told of an exception."""
    if isinstance(exc, IntegrationError):
        return exc
    if isinstance(exc.__cause__, IntegrationError):  # the parser's, which Ninja wraps
        return exc.__cause__
    if isinstance(exc, ValidationError):
        return _of_validation(exc.errors[0])
    if isinstance(exc, RequestDataTooBig):
        return IntegrationError(ErrorCode.MESSAGE_TOO_LARGE, "the body is too large")
    if isinstance(exc, Http404):
        return IntegrationError(ErrorCode.NOT_FOUND)
    return _of_failure(exc)


def _of_validation(first: dict[str, Any]) -> IntegrationError:
    place, *path = [str(part) for part in first["loc"]]
    named = ".".join(part for part in path if part not in _OUR_PARAMETERS) or place
    code = _BY_PLACE.get(place) or _BY_KIND.get(first["type"], ErrorCode.ARGUMENT_TYPE)
    return IntegrationError(code, f"{named[:80]}: {first['msg'][:200]}")


def _of_failure(exc: Exception) -> IntegrationError:
    """The edge of the API: what nobody expected is logged with its trace and told as one code."""
    log.error("an operation failed", exc_info=exc)
    return outage(exc) or IntegrationError(ErrorCode.INTERNAL_ERROR)
