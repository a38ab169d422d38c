"""The API of version 1: ``/api/v1/...``, described at ``/api/v1/openapi.json``.

There is no page to try it out: Ninja's would fetch its script from another site.
"""

from __future__ import annotations

from typing import Any

from ninja import NinjaAPI

from hub.api import refusals
from hub.api.bodies import StrictJson
from hub.api.operations import circuits, dead_letters, events, registry, requests, sagas, traces

_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "description": "Why a call was refused (RFC 9457); `code` is one of the hub's error codes.",
    "required": ["type", "title", "status", "detail", "code", "retry"],
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "code", "trace_id", "suggestion"), _TEXT),
        "status": {"type": "integer"},
        "retry": {"enum": ["never", "later", "same_key", "human"]},
        "outcome": {"enum": ["nothing_sent", "unknown", "answered"]},
        "status_code": {"type": "integer"},
        "body": {"description": "what the service answered"},
        "retry_after_sec": {"type": "number"},
    },
}


class _Api(NinjaAPI):
    def get_openapi_schema(self, **options: Any) -> Any:
        """Add the schema that every operation refers to: of `openapi_extra` Ninja takes no components."""
        found = super().get_openapi_schema(**options)
        found["components"]["schemas"]["Problem"] = _PROBLEM
        return found


api = _Api(title="L11 integration hub", version="1", urls_namespace="api", docs_url=None, parser=StrictJson())
refusals.handle(api)
for room in (registry, requests, sagas, events, dead_letters, circuits, traces):
    api.add_router("", room.router)
