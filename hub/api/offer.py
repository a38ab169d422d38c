"""Offer a function as an operation: its scope guards it, stands in the OpenAPI description, and unknown parameters are refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.http import HttpRequest
from ninja import Router
from ninja.params.models import QueryModel

from hub.api.bearer import Bearer
from hub.api.paging import Page
from hub.api.scopes import Scope
from hub.errors import ErrorCode, IntegrationError

F = TypeVar("F", bound=Callable[..., Any])
MAX_ID = 2**63 - 1
_PROBLEM = {
    "description": "refused: see `code`",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def operation(router: Router, method: str, path: str, scope: Scope, *, status: int = 200, answer: Any = dict[str, Any]) -> Callable[[F], F]:
    """Return a decorator that registers a function of one request as an operation of `router`."""
    extra = {"x-scope": scope.value, "responses": {"default": _PROBLEM}}

    def offer(view: F) -> F:
        name, text = view.__name__, inspect.getdoc(view) or ""
        register = router.api_operation(
            [method],
            path,
            auth=Bearer(scope),
            response={status: answer},
            operation_id=name,
            summary=text.split("\n")[0].rstrip("."),
            description=f"{text}\n\nScope: `{scope.value}`",
            openapi_extra=extra,
        )
        register(_refusing_unknown_parameters(view))
        return view

    return offer


def listing(router: Router, path: str) -> Callable[[F], F]:
    """Return a decorator that registers a list."""
    return operation(router, "GET", path, Scope.READ, answer=Page)


def _refusing_unknown_parameters(view: Callable[..., Any]) -> Callable[..., Any]:
    """Ninja passes over parameters that it does not know: a misspelt filter would answer with everything."""

    @wraps(view)
    def checked(request: HttpRequest, **values: Any) -> Any:
        models = checked._ninja_operation.models  # type: ignore[attr-defined]  # set by ninja
        known = {name for model in models if issubclass(model, QueryModel) for name in model.__ninja_flatten_map__}
        if unknown := sorted(set(request.GET) - known):
            raise IntegrationError(ErrorCode.QUERY_PARAMETER_INVALID, f"no parameter {ascii(unknown[0])[:80]}")
        return view(request, **values)

    # The names in its annotations mean what they mean in its own module, not in this one.
    checked.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
    return checked


def row_id(text: str) -> int:
    """Return the id of a row; E11908 when it is not one."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"id {ascii(text)[:80]} is not a whole number")
    return int(text)
