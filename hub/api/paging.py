"""Pages of lists: a limit, and a cursor that says where the page before ended."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from pydantic import BaseModel, ConfigDict, Field

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json

M = TypeVar("M", bound=Model)
MAX_LIMIT = 200
MAX_CURSOR = 400


class Paged(BaseModel):
    """What every list can be asked."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    cursor: str = Field("", max_length=MAX_CURSOR, description="`next` of the page before")


class Page(BaseModel):
    """A page of a list; `next` is the cursor of the following one, null on the last."""

    items: list[dict[str, Any]]
    next: str | None = None


def newest_first(rows: QuerySet[M], paged: Paged, by: str) -> tuple[list[M], str | None]:
    """Return a page of `rows`, the largest of column `by` first, and the next cursor; one index on `by` serves it."""
    if paged.cursor:
        last, pk = _position(rows.model, by, paged.cursor)
        rows = rows.filter(Q(**{f"{by}__lt": last}) | Q(**{by: last, "pk__lt": pk}))
    found = list(rows.order_by(f"-{by}", "-pk")[: paged.limit + 1])
    return cut(found, paged.limit, lambda row: [getattr(row, by), row.pk])


def after(cursor: str) -> str:
    """Return the key after which an ascending page begins, "" at the start; E11912 for a cursor that is none."""
    if not cursor:
        return ""
    found = decode(cursor, 1)[0]
    if not isinstance(found, str):
        raise _malformed()
    return found


def cut(found: list[M] | list[Any], limit: int, key: Any) -> tuple[list[Any], str | None]:
    """Return `limit` of what was found and, if there was more, the cursor that goes on behind them."""
    page = found[:limit]
    return page, encode(key(page[-1])) if len(found) > limit else None


def encode(position: list[Any]) -> str:
    """Return a position as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(position, default=_text).encode()).decode().rstrip("=")


def decode(cursor: str, length: int) -> list[Any]:
    """Return the position of a cursor; E11912 when it is none."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        check_json(found, what="cursor", max_bytes=MAX_CURSOR)
    except (ValueError, RecursionError, IntegrationError):
        raise _malformed() from None
    if not isinstance(found, list) or len(found) != length:
        raise _malformed()
    return found


def _in_utc(value: Any) -> Any:
    """Return a time in UTC, as the database wants it; OverflowError when there is none."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _position(model: type[Model], by: str, cursor: str) -> list[Any]:
    fields, position = (model._meta.get_field(by), model._meta.pk), decode(cursor, 2)
    if None in position:
        raise _malformed()
    try:
        return [_in_utc(field.to_python(value)) for field, value in zip(fields, position, strict=True)]  # type: ignore[union-attr]
    except (ValidationError, ValueError, TypeError, OverflowError):
        raise _malformed() from None


def _malformed() -> IntegrationError:
    return IntegrationError(ErrorCode.QUERY_PARAMETER_INVALID, "cursor is none of this API", recovery_suggestion="send `next` as it came")


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
