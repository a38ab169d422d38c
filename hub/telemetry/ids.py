"""Ids of traces and spans (W3C Trace Context)."""

from __future__ import annotations

import secrets
import time


def new_trace_id() -> str:
    """Return 32 hex digits: the second of its making in eight, and 24 random ones, as AWS X-Ray has them.

    The spans of traces that run at the same time lie beside each other in the index by trace id, instead of each on a page
    of its own. W3C asks for at least the last 14 digits to be random, and so does the sampler.
    """
    return f"{int(time.time()) & 0xFFFFFFFF:08x}{secrets.token_hex(12)}"


def new_span_id() -> str:
    """Return a random span id: 16 hex digits."""
    return secrets.token_hex(8)
