import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.error_codes import ErrorCode
from hub.events.fingerprints import fingerprint, hint
from hub.events.retries import Next, RetryPolicy, after_failure, code_in, delay_sec

POLICY = RetryPolicy(max_attempts=3, delay_sec=1, backoff=2, max_delay_sec=60, max_age_sec=3_600)


def decide(**changes):
    return after_failure(POLICY, **{"attempts": 1, "age_sec": 10, "code": None, "jitter": 0.5, **changes})


def test_a_failure_is_tried_again_until_the_attempts_are_used_up():
    assert decide(attempts=1).next is Next.RETRY
    assert decide(attempts=2).next is Next.RETRY
    assert decide(attempts=3).next is Next.DEAD


def test_an_open_breaker_is_waited_out_however_often_but_not_for_ever():
    assert decide(attempts=99, code=ErrorCode.BREAKER_OPEN).next is Next.HOLD
    assert decide(attempts=99, code=ErrorCode.NO_HEALTHY_INSTANCE).next is Next.HOLD
    assert decide(code=ErrorCode.BREAKER_OPEN, age_sec=3_600).next is Next.DEAD


def test_a_refusal_that_no_repetition_changes_is_final_at_once():
    assert decide(code=ErrorCode.EVENT_HOP_LIMIT).next is Next.DEAD
    assert decide(code=ErrorCode.PATH_INVALID).next is Next.DEAD
    assert decide(code=ErrorCode.CONNECT_FAILED).next is Next.RETRY


@given(st.integers(1, 5_000), st.floats(0, 0.999))
def test_waits_grow_to_the_cap_and_never_beyond(attempt, jitter):
    wait = delay_sec(POLICY, attempt=attempt, jitter=jitter)

    longest = min(60, 2 ** min(attempt - 1, 64))
    assert longest / 2 <= wait <= longest


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("E11220: breaker of L04 is open", "E11220"),
        ("CircuitOpen: E11220: breaker of L04 is open", "E11220"),
        ("ValueError: the answer named E11220", None),
        ("E11999: no such code", None),
        ("", None),
    ],
)
def test_the_code_is_what_an_error_begins_with(text, code):
    assert code_in(text) == code


def test_failures_of_one_cause_have_one_fingerprint():
    first = fingerprint(subscription="s", event_type="t", error="KeyError: 'agent-1' at 0x7f31aa00, row 17")
    assert first == fingerprint(subscription="s", event_type="t", error="KeyError: 'agent-2' at 0x7f31bb22, row 4")
    assert first != fingerprint(subscription="s", event_type="t", error="ValueError: 'agent-1'")
    assert first != fingerprint(subscription="other", event_type="t", error="KeyError: 'agent-1' at 0x7f31aa00, row 17")


def test_a_hint_names_the_breaker_that_was_open():
    errors = ["E11220: breaker of L04_model_gateway is open", "ValueError: gave up"]

    assert hint(errors, [ErrorCode.BREAKER_OPEN, None]) == "failed while L04_model_gateway's breaker was open: replay when it is closed"
    assert hint(["busy", "busy"], [ErrorCode.UPSTREAM_BUSY] * 2) == "its service was too busy: replay the cause at a rate that it can take"
    assert "same way" in hint(["x", "x"], [None, None])
    assert hint(["x", "y"], [None, None]) == ""
