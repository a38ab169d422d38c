"""A run by the beginning of its id, as lists show it and people copy it."""

from __future__ import annotations

import re
import uuid

from hub.errors import ErrorCode, IntegrationError
from sagas.models import SagaExecution

_BEGINNING = re.compile("[0-9a-f]{4,31}", re.IGNORECASE)


def beginning_with(text: str, *, most: int) -> list[uuid.UUID]:
    """Return the ids that begin so, `most` of them; none for what is not four to thirty-one digits of an id."""
    given = text.replace("-", "")
    if not _BEGINNING.fullmatch(given):
        return []
    first, last = uuid.UUID(given.ljust(32, "0")), uuid.UUID(given.ljust(32, "f"))
    return list(SagaExecution.objects.filter(pk__range=(first, last)).order_by("pk").values_list("pk", flat=True)[:most])


def only(text: str) -> uuid.UUID | None:
    """Return the one id that begins so, or None; E11908 when there are several."""
    found = beginning_with(text, most=2)
    if len(found) > 1:
        raise IntegrationError(ErrorCode.IDENTIFIER_MALFORMED, f"several sagas begin with {text!r}: give more of the id")
    return found[0] if found else None


def completed(text: str) -> str:
    """Return an id for its beginning, and any other text as it is; E11423 when no saga begins so, E11908 when several do."""
    found = only(text)
    if found is None and _BEGINNING.fullmatch(text.replace("-", "")):
        raise IntegrationError(ErrorCode.EXECUTION_NOT_FOUND, f"no saga begins with {text!r}")
    return str(found or text)
