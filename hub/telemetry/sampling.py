"""Which unremarkable traces are kept when not all can be (pure)."""

from __future__ import annotations


def is_sampled(trace_id: str, ratio: float) -> bool:
    """Tell whether a trace belongs to the kept share: the same answer in every process, as OpenTelemetry's ratio sampler."""
    return int(trace_id[16:], 16) < round(ratio * 2**64)
