from dataclasses import replace

import pytest

from hub.telemetry import context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_F3_a_traceparent_of_ours_is_valid_and_keeps_its_trace_on_every_hop():
    """The first hub wrote 79 characters with dashes, which no hop could read: each began a trace of its own."""
    text = context.format_traceparent(context.TraceContext(trace_id=TRACE, span_id=SPAN))

    for hop in range(5):
        received = context.parse(text)
        assert received is not None
        assert (len(text), received.trace_id) == (55, TRACE)
        text = context.format_traceparent(replace(received, span_id=context.span_id_of("hop", hop)))


def test_what_is_formatted_is_parsed_to_the_same():
    given = context.TraceContext(trace_id=TRACE, span_id=SPAN, sampled=False)

    text = context.format_traceparent(given)

    assert text == f"00-{TRACE}-{SPAN}-00"
    assert len(text) == 55
    assert context.parse(text) == given


def test_a_later_version_is_read_by_its_known_prefix():
    assert context.parse(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings") == context.TraceContext(trace_id=TRACE, span_id=SPAN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        7,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        "00-4bf92f35-77b3-4da6-a3ce-929d0e0e4736-00f067aa-0ba9-02b7-01",
    ],
)
def test_what_is_no_traceparent_is_none(text):
    assert context.parse(text) is None
