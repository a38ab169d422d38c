"""One event a line: JSON for machines, text for people; with trace and correlation, control characters escaped, no secrets."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

MAX_TEXT = 8_000
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName", "data"}
# Line breaks and terminal codes in a value must not look like another line.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)} | {10: "\\n", 13: "\\r", 9: "\\t"}


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record says: time, level, logger, event, its extra data, and what work it belongs to."""
    # The tracer reads Django's settings, and logging is configured by them.
    from hub.telemetry import tracing

    known = {"trace_id": tracing.trace_id(), "correlation_id": tracing.correlation_id()}
    extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    head = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "event": record.getMessage(),
        **{name: value for name, value in known.items() if value},
    }
    # What a line adds must not pass for its level, or for another event.
    return head | {f"{name}_" if name in head else name: value for name, value in extra.items()}


def _safe(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    found = fields(record)
    if record.exc_info:
        found["error"] = formatter.formatException(record.exc_info)
    from hub.telemetry.secrets import redactor

    redacted: dict[str, Any] = redactor().value(found)
    return redacted


def _text(value: Any) -> str:
    """Return what is no plain value, such as an exception, as text: of that, nothing was redacted yet."""
    from hub.telemetry.secrets import redactor

    return (value if isinstance(value, str) else redactor().text(str(value)))[:MAX_TEXT]


class JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(_safe(record, self), default=_text)


class TextFormatter(logging.Formatter):
    """Time, level, logger, event, and the rest as name=value; an exception follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and the traceback below it."""
        found = _safe(record, self)
        head = [str(found.pop(name)).translate(_CONTROL) for name in ("time", "level", "logger", "event")]
        error = found.pop("error", None)
        rest = [f"{name}={_text(value).translate(_CONTROL)}" for name, value in found.items()]
        line = " ".join([*head, *rest])
        # The lines of a traceback are indented, so that none of them can pass for an event.
        return f"{line}\n{_indented(str(error))}" if error else line


def use_own_format(logger: logging.Logger, **_: Any) -> None:
    """Give the lines of Celery's loggers the format of all others: one event a line, and no secret in an error's text."""
    from django.conf import settings

    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter() if settings.HUB.log_format == "json" else TextFormatter())


def _indented(text: str) -> str:
    return "\n".join("    " + line.translate(_CONTROL) for line in text.split("\n"))
