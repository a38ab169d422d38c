"""What travels from hop to hop is read as it was written (F3: a defect that a well-known small orchestrator has)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import IntegrationError
from hub.routing.context import RequestContext

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_f3_the_traceparent_is_valid_w3c():
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01", RequestContext.create().traceparent)


@given(st.text(alphabet=[chr(code) for code in range(0x21, 0x7F)], min_size=1, max_size=128), st.booleans())
def test_f3_it_parses_what_it_writes(correlation_id, sampled):
    flags = "01" if sampled else "00"
    written = RequestContext.from_headers({"traceparent": TRACEPARENT[:-2] + flags, "X-Correlation-ID": correlation_id, "baggage": "a=1"})

    assert RequestContext.from_headers(written.to_headers()) == written


def test_f3_the_trace_goes_on_over_hops():
    first = RequestContext.create(correlation_id="order-7")
    second = RequestContext.from_headers(first.child().to_headers())
    third = RequestContext.from_headers({name.title(): value for name, value in second.child().to_headers().items()})

    assert first.trace_id == second.trace_id == third.trace_id
    assert len({first.span_id, second.span_id, third.span_id}) == 3
    assert third.correlation_id == "order-7"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT[:-1],
        "00-" + "0" * 32 + TRACEPARENT[35:],
        "ff" + TRACEPARENT[2:],
        TRACEPARENT + "-x",
    ],
)
def test_a_malformed_traceparent_starts_a_new_trace_and_drops_the_state(traceparent):
    context = RequestContext.from_headers({"traceparent": traceparent, "tracestate": "a=1"})

    assert context.trace_id not in TRACEPARENT
    assert context.tracestate == ""


def test_strict_reading_refuses_it():
    with pytest.raises(IntegrationError) as caught:
        RequestContext.from_headers({"traceparent": "00-zz-11-01"}, strict=True)

    assert caught.value.code == "E11310"


def test_a_later_version_is_read_by_its_known_prefix():
    assert RequestContext.from_headers({"traceparent": "01" + TRACEPARENT[2:] + "-more"}).trace_id == TRACEPARENT[3:35]


def test_tracestate_is_kept_whole_or_not_at_all():
    good, bad = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "congo=t61,=broken"

    assert RequestContext.from_headers({"traceparent": TRACEPARENT, "tracestate": good}).tracestate == good
    assert RequestContext.from_headers({"traceparent": TRACEPARENT, "tracestate": bad}).tracestate == ""


@pytest.mark.parametrize("value", ["order-7", "order#7", "(7)", "x" * 128])
def test_a_correlation_id_that_an_event_can_carry_is_carried_by_a_request(value):
    assert RequestContext.from_headers({"x-correlation-id": value}).correlation_id == value


@pytest.mark.parametrize("value", ["a\r\nx-admin: 1", "a b", "", "ü", "x" * 129])
def test_a_correlation_id_that_could_forge_a_header_or_a_log_line_is_replaced(value):
    assert RequestContext.from_headers({"x-correlation-id": value}).correlation_id not in (value, "")
