"""Values as text for pages: redacted, and cut at a limit."""

from __future__ import annotations

import json
from typing import Any

from hub.telemetry.redaction import Redactor

MAX_JSON = 20_000


def as_json(value: Any, redactor: Redactor) -> str:
    """Return a value as indented JSON without its secrets."""
    text = json.dumps(redactor.value(value), indent=2, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= MAX_JSON else f"{text[:MAX_JSON]}\n... cut after {MAX_JSON} of {len(text)} characters"
