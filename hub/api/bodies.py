"""Read what a caller sent: JSON by the letter, of a bounded size, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.parser import Parser
from pydantic import BaseModel, ConfigDict

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import check_json


class Body(BaseModel):
    """A body of known members, each of the very type that is written."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StrictJson(Parser):
    """Ninja's parser, with the refusals of the hub's other doors."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body; see `read`. E11910 when it is announced as anything but plain JSON."""
        check_announced(request.content_type or "", request.headers.get("Content-Encoding", ""))
        return read(request.body, max_bytes=settings.HUB.api_max_body_bytes())


def check_announced(content_type: str, encoding: str) -> None:
    """Refuse what is not JSON, and what is packed: unpacking is work that a small body can make large (E11910)."""
    if content_type.lower() != "application/json":
        raise IntegrationError(ErrorCode.CONTENT_TYPE_UNSUPPORTED, f"the content type is {content_type[:80]!r}")
    if encoding.lower() not in ("", "identity"):
        raise IntegrationError(ErrorCode.CONTENT_TYPE_UNSUPPORTED, f"content encoding {encoding[:80]!r} is not taken")


def read(raw: bytes, *, max_bytes: int) -> Any:
    """Return the JSON value in `raw`.

    Errors: E11960 too large, E11904 not JSON, E11907 a key twice, E11905 and E11906 for its values.
    """
    if len(raw) > max_bytes:
        raise IntegrationError(ErrorCode.MESSAGE_TOO_LARGE, f"the body has {len(raw)} bytes, the limit is {max_bytes}")
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_no_number)
    except RecursionError:
        raise IntegrationError(ErrorCode.JSON_TOO_DEEP, "the body is nested too deep") from None
    except ValueError as exc:
        raise IntegrationError(ErrorCode.JSON_MALFORMED, f"the body is not JSON: {type(exc).__name__}") from None
    check_json(value, what="the body", max_bytes=max_bytes)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise IntegrationError(ErrorCode.JSON_DUPLICATE_KEY, "an object in the body holds a key twice")
    return found


def _no_number(name: str) -> None:
    raise IntegrationError(ErrorCode.JSON_VALUE_REFUSED, f"the body holds {name}")
