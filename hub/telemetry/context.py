"""W3C Trace Context: ``traceparent`` to values and back (pure; https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_TRACE_ID = re.compile(r"^(?!0{32})[0-9a-f]{32}\Z")
_SPAN_ID = re.compile(r"^(?!0{16})[0-9a-f]{16}\Z")
_TRACEPARENT = re.compile(r"^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")
_CORRELATION_ID = re.compile(r"[\x21-\x7e]{1,128}\Z")
SAMPLED = 0x01


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceContext:
    """Where a piece of work belongs: its trace, the span that caused it, and whether it is recorded."""

    trace_id: str
    span_id: str
    sampled: bool = True


def is_trace_id(text: object) -> bool:
    """Tell whether `text` is 32 lower-case hex digits, not all zero."""
    return isinstance(text, str) and bool(_TRACE_ID.match(text))


def is_span_id(text: object) -> bool:
    """Tell whether `text` is 16 lower-case hex digits, not all zero."""
    return isinstance(text, str) and bool(_SPAN_ID.match(text))


def is_correlation_id(text: object) -> bool:
    """Tell whether `text` is 1 to 128 printable ASCII characters without a space: what headers and events can carry."""
    return isinstance(text, str) and bool(_CORRELATION_ID.match(text))


def parse(traceparent: object) -> TraceContext | None:
    """Return the context in a ``traceparent``, or None when it is not one (the receiver then starts a new trace).

    A version above 00 is read by its known prefix; ``ff`` and, for 00, anything behind the flags are refused.
    """
    found = _TRACEPARENT.match(traceparent.strip(" \t")) if isinstance(traceparent, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not is_trace_id(trace_id) or not is_span_id(span_id):
        return None
    return TraceContext(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & SAMPLED))


def span_id_of(*parts: object) -> str:
    """Return the span id that follows from `parts`: whoever knows them can name the span without having seen it."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).hexdigest()
    return digest if is_span_id(digest) else "1".zfill(16)


def format_traceparent(context: TraceContext) -> str:
    """Return the ``traceparent`` of `context`: 55 characters, version 00."""
    return f"00-{context.trace_id}-{context.span_id}-{int(context.sampled):02x}"
