import pytest

from hub.telemetry import context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


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
