"""Errors survive the ways they travel: pickle between pool processes, JSON through the result backend."""

import pickle

import pytest

from hub.errors import CircuitOpen, ErrorCode, IntegrationError, RequestFailed


@pytest.mark.parametrize(
    "error",
    [
        IntegrationError(ErrorCode.SERVICE_NOT_FOUND, "no service 'x'", {"name": "x"}, "register it"),
        RequestFailed(ErrorCode.TIMED_OUT_AFTER_SEND, "too slow", outcome="unknown", status_code=None),
        CircuitOpen(ErrorCode.BREAKER_OPEN, "open", retry_after_sec=3.5),
    ],
)
def test_pickle_keeps_everything(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_an_error_is_built_again_from_its_text():
    original = IntegrationError(ErrorCode.SERVICE_NOT_FOUND, "no service 'x'", recovery_suggestion="register it")

    copy = IntegrationError(str(original))

    assert copy.code is ErrorCode.SERVICE_NOT_FOUND
    assert str(copy) == str(original) == "E11020: no service 'x' (register it)"


def test_recoverable_means_that_the_same_call_may_succeed_later():
    assert IntegrationError(ErrorCode.BREAKER_OPEN).is_recoverable
    assert not IntegrationError(ErrorCode.SERVICE_NOT_FOUND).is_recoverable


def test_codes_are_unique_and_in_the_ranges_of_their_rooms():
    numbers = [int(code.value[1:]) for code in ErrorCode]

    assert len(set(numbers)) == len(numbers)
    assert all(11000 <= n < 11600 or 11800 <= n < 12000 for n in numbers)
