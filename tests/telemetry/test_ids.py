"""Ids of traces: those of one time lie beside each other, and none is like another."""

import time

from hub.routing.context import RequestContext
from hub.telemetry import context, tracing
from hub.telemetry.ids import new_trace_id
from hub.telemetry.values import TraceSpan


def test_a_trace_id_begins_with_its_second_and_ends_at_random():
    before = int(time.time())
    made = [new_trace_id() for _ in range(1_000)]
    after = int(time.time())

    assert all(context.is_trace_id(one) and before <= int(one[:8], 16) <= after for one in made)
    assert len({one[18:] for one in made}) == 1_000  # the digits that W3C asks to be random


def test_whatever_begins_a_trace_gives_it_such_an_id():
    with tracing.span("x"):
        opened = tracing.trace_id()

    made = [opened, RequestContext.create().trace_id, TraceSpan("x", "s").trace_id]

    assert [abs(int(one[:8], 16) - time.time()) < 60 for one in made] == [True] * 3
