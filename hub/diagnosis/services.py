"""Why is it stuck? One function for whatever id a person has at hand."""

from __future__ import annotations

import uuid

from hub.diagnosis import requests, sagas
from hub.diagnosis.rules import Why
from hub.errors import ErrorCode, IntegrationError
from sagas import beginnings
from sagas.models import SagaExecution, SagaVersion

MAX_ID = 128


def why(identifier: str) -> Why:
    """Answer for a saga (its id or idempotency key) or a request (task id, trace id, correlation id or idempotency key).

    A correlation id, trace id or key that belongs to a saga asks for the newest such saga; the first four characters or more of a
    saga's id will do where no other begins so and no request is known by them. Errors: E11908 for what is no id or the beginning of
    several; E11920 when nothing is known of it; E11941 when only Redis could tell and it is away.
    """
    if not isinstance(identifier, str) or not 1 <= len(identifier) <= MAX_ID or not identifier.isprintable():
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"an id has 1 to {MAX_ID} characters")
    execution_id = _saga(identifier)
    return sagas.why_saga_of(execution_id) if execution_id else _of_request(identifier)


def _of_request(identifier: str) -> Why:
    """Answer for a request; for the saga whose id begins so only where none is known: numbers are correlation ids and keys, too."""
    try:
        return requests.why(identifier)
    except IntegrationError:
        begun = beginnings.only(identifier)
        if begun is None:
            raise
        return sagas.why_saga_of(str(begun))


def _saga(identifier: str) -> str:
    rows = SagaExecution.objects.order_by("-created_at").values_list("pk", flat=True)
    try:
        found = rows.filter(pk=uuid.UUID(identifier)).first()
    except ValueError:
        found = None
    found = found or rows.filter(trace_id=identifier).first() or rows.filter(correlation_id=identifier).first()
    return str(found or _by_key(identifier) or "")


def _by_key(identifier: str) -> uuid.UUID | None:
    names = SagaVersion.objects.values("saga_name")  # keys are unique per name, and so is their index
    found = SagaExecution.objects.filter(saga_name__in=names, idempotency_key=identifier).order_by()
    return max(found.values_list("created_at", "pk"), default=(None, None))[1]
