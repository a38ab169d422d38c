"""What a breaker would have done with recorded calls, by other rules."""

from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.whatif import RecordedCall, replay


def calls(*outcomes, every_ms=100, takes_ms=10, start_ms=1_000_000):
    """Return one call after another; the outcome of each is given."""
    return [
        RecordedCall(started_ms=start_ms + number * every_ms, ended_ms=start_ms + number * every_ms + takes_ms, ok=ok)
        for number, ok in enumerate(outcomes)
    ]


def test_it_opens_at_the_end_of_the_call_that_was_one_too_many_and_refuses_what_begins_then():
    seen = replay(calls(True, False, False, False, True, False), CircuitBreakerConfig(failure_threshold=3, timeout_sec=60))

    [opening] = seen.openings
    assert (opening.at_ms, opening.until_ms, opening.why) == (1_000_310, 1_060_310, "consecutive_failures")
    assert (seen.refused_good, seen.refused_failed, seen.failed_through) == (1, 1, 3)


def test_a_higher_threshold_lets_them_all_through():
    seen = replay(calls(True, False, False, False, True, False), CircuitBreakerConfig(failure_threshold=4))

    assert (seen.openings, seen.refused_good, seen.refused_failed, seen.failed_through) == ([], 0, 0, 4)


def test_good_probes_close_it_and_a_bad_one_opens_it_for_longer():
    rules = CircuitBreakerConfig(failure_threshold=1, timeout_sec=1, success_threshold=1)

    closes = replay(calls(False, True, True, every_ms=2_000), rules)
    reopens = replay(calls(False, False, True, every_ms=1_500), rules)

    assert (len(closes.openings), closes.refused_good) == (1, 0)
    assert [one.until_ms - one.at_ms for one in reopens.openings] == [1_000, 1_900]
    assert reopens.refused_good == 1


def test_calls_that_were_under_way_when_it_opened_count_for_nothing():
    at_once = [RecordedCall(started_ms=0, ended_ms=100 + number, ok=False) for number in range(10)]

    seen = replay(at_once, CircuitBreakerConfig(failure_threshold=2))

    assert (len(seen.openings), seen.failed_through, seen.refused_failed) == (1, 10, 0)


def test_a_call_that_says_nothing_gives_its_probe_back():
    rules = CircuitBreakerConfig(failure_threshold=1, timeout_sec=1, success_threshold=1, half_open_requests=1)

    seen = replay(calls(False, None, True, every_ms=2_000), rules)

    assert (len(seen.openings), seen.refused_good) == (1, 0)


def test_slow_calls_open_it_where_the_rules_say_so():
    slow = calls(*[True] * 12, takes_ms=50)

    assert replay(slow, CircuitBreakerConfig()).openings == []
    assert [one.why for one in replay(slow, CircuitBreakerConfig(slow_call_sec=0.04)).openings] == ["slow_rate"]
