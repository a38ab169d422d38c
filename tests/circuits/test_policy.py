"""The rules of a breaker, as a table."""

import itertools

import pytest

from hub.circuits import policy
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.policy import Circuit, CircuitState
from hub.errors import IntegrationError

NOW = 1_000_000_000_000
CONFIG = CircuitBreakerConfig(failure_threshold=5, timeout_sec=60, half_open_requests=3, success_threshold=2)


def record(circuit, ok, *, config=CONFIG, now_ms=NOW, probe_id="", generation=None, slow=False, retry_after_ms=0, jitter=0.0):
    return policy.record(
        circuit,
        config,
        generation=circuit.generation if generation is None else generation,
        probe_id=probe_id,
        ok=ok,
        slow=slow,
        now_ms=now_ms,
        jitter=jitter,
        retry_after_ms=retry_after_ms,
    )


def after(results, *, config=CONFIG):
    circuit = Circuit()
    for ok in results:
        circuit = record(circuit, ok, config=config)
    return circuit


def half_open(probes):
    circuit, ids = after([False] * CONFIG.failure_threshold), []
    for number in range(probes):
        circuit, verdict = policy.admit(circuit, CONFIG, now_ms=NOW + 60_000, probe_id=f"p{number}", lease_ms=10_000)
        assert verdict.admitted
        ids.append(verdict.probe_id)
    return circuit, ids


@pytest.mark.parametrize(
    ("results", "state", "why"),
    [
        ([False] * 1, "closed", ""),
        ([False] * 4, "closed", ""),
        ([False] * 5, "open", "consecutive_failures"),
        ([False] * 4 + [True] + [False] * 4, "closed", ""),
        ([True, False, True, False, True, False, True, False, True, False], "open", "error_rate"),
        ([True, False, True, False, True, False, True, False, True], "closed", ""),
        ([True] * 6 + [False] * 4, "closed", ""),
        ([True] * 1000, "closed", ""),
    ],
)
def test_results_lead_to_a_state(results, state, why):
    circuit = after(results)

    assert (circuit.state, circuit.why) == (state, why)


def test_slow_calls_open_it_by_their_share():
    config = CircuitBreakerConfig(slow_call_sec=1, minimum_calls=4, slow_rate_threshold=0.5)
    circuit = Circuit()

    for slow in (False, True, False, True):
        circuit = record(circuit, True, config=config, slow=slow)

    assert (circuit.state, circuit.why) == ("open", "slow_rate")


def test_what_left_the_window_counts_no_more():
    circuit = Circuit()
    for _ in range(5):
        circuit = record(record(circuit, False), True)

    later = record(circuit, True, now_ms=NOW + 61_000)

    assert circuit.state == "open"
    assert later.state == "open"
    calm = after([True, False, True, False])
    assert calm.totals(CONFIG, now_ms=NOW).failed == 2
    assert calm.totals(CONFIG, now_ms=NOW + 60_000).failed == 0


def test_open_refuses_until_its_time_is_over():
    circuit = after([False] * 5)

    _, early = policy.admit(circuit, CONFIG, now_ms=NOW + 59_999, probe_id="p", lease_ms=1000)
    later, verdict = policy.admit(circuit, CONFIG, now_ms=NOW + 60_000, probe_id="p", lease_ms=1000)

    assert (early.admitted, early.why, early.retry_after_ms) == (False, "open", 1)
    assert (later.state, verdict.admitted, verdict.probe_id) == ("half_open", True, "p")


def test_half_open_reserves_its_permits_before_any_probe_has_ended():
    circuit, _ = half_open(3)

    verdicts = []
    for number in range(10):
        circuit, verdict = policy.admit(circuit, CONFIG, now_ms=NOW + 60_001, probe_id=f"x{number}", lease_ms=1000)
        verdicts.append(verdict.admitted)

    assert not any(verdicts)


def test_a_probe_that_died_gives_its_permit_back():
    circuit, _ = half_open(3)

    _, verdict = policy.admit(circuit, CONFIG, now_ms=NOW + 70_001, probe_id="next", lease_ms=1000)

    assert verdict.admitted


def test_good_probes_close_it_and_no_more_are_let_through_than_are_needed():
    circuit, ids = half_open(3)
    circuit = record(circuit, True, probe_id=ids[0], now_ms=NOW + 60_001)
    _, verdict = policy.admit(circuit, CONFIG, now_ms=NOW + 60_002, probe_id="fourth", lease_ms=1000)

    closed = record(circuit, True, probe_id=ids[1], now_ms=NOW + 60_003)

    assert not verdict.admitted
    assert (closed.state, closed.openings, closed.window) == ("closed", 0, ())


def test_one_bad_probe_opens_it_for_longer():
    circuit, ids = half_open(2)

    opened = record(circuit, False, probe_id=ids[0], now_ms=NOW + 60_001, jitter=0.0)

    assert (opened.state, opened.why) == ("open", "probe_failed")
    assert opened.open_until_ms == NOW + 60_001 + 120_000


@pytest.mark.parametrize(
    ("openings", "jitter", "expected_ms"), [(1, 1.0, 60_000), (2, 0.0, 120_000), (2, 1.0, 108_000), (99, 0.0, 600_000)]
)
def test_open_time_grows_with_jitter_and_a_cap_but_is_exact_at_first(openings, jitter, expected_ms):
    assert policy.open_ms(CONFIG, openings=openings, jitter=jitter) == expected_ms


def test_a_late_result_of_an_earlier_generation_changes_nothing():
    closed = after([False] * 4)
    opened = record(closed, False)

    assert record(opened, True, generation=closed.generation) == opened
    assert record(opened, False, generation=closed.generation) == opened


def test_a_result_without_a_living_lease_changes_nothing():
    circuit, ids = half_open(1)

    assert record(circuit, True, probe_id="never admitted", now_ms=NOW + 60_001) == circuit
    assert record(circuit, False, probe_id=ids[0], now_ms=NOW + 70_001) == circuit


def test_retry_after_opens_softly_for_exactly_that_long_and_holds_nothing_against_it():
    circuit = record(Circuit(), False, retry_after_ms=7_000)

    assert (circuit.state, circuit.why, circuit.open_until_ms, circuit.openings) == ("open", "retry_after", NOW + 7_000, 0)


def test_retry_after_is_capped():
    circuit = record(Circuit(), False, retry_after_ms=10**9)

    assert circuit.open_until_ms == NOW + CONFIG.max_open_ms


@pytest.mark.parametrize(
    ("mode", "admitted"), [(CircuitState.FORCED_OPEN, False), (CircuitState.FORCED_CLOSED, True), (CircuitState.METRICS_ONLY, True)]
)
def test_an_operators_word_stands_above_the_rules_until_its_end(mode, admitted):
    circuit = policy.force(Circuit(), mode, until_ms=NOW + 1000)
    for _ in range(20):
        circuit = record(circuit, False)

    during, verdict = policy.admit(circuit, CONFIG, now_ms=NOW + 999, probe_id="p", lease_ms=1)
    ended, verdict_after = policy.admit(circuit, CONFIG, now_ms=NOW + 1000, probe_id="p", lease_ms=1)

    assert (during.effective, verdict.admitted) == (mode, admitted)
    assert (ended.effective, ended.why, verdict_after.admitted) == ("closed", "force_expired", True)


def test_reset_forgets_everything_but_moves_on():
    opened = after([False] * 5)

    fresh = policy.reset(opened)

    assert fresh == Circuit(generation=opened.generation + 1)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"failure_threshold": 0}, "E11201"),
        ({"failure_threshold": 1001}, "E11201"),
        ({"failure_threshold": True}, "E11201"),
        ({"failure_threshold": 2.5}, "E11201"),
        ({"error_rate_threshold": 0}, "E11201"),
        ({"error_rate_threshold": 1.5}, "E11201"),
        ({"timeout_sec": 0}, "E11202"),
        ({"timeout_sec": 90_000}, "E11202"),
        ({"window_size_sec": float("nan")}, "E11202"),
        ({"half_open_requests": 0}, "E11203"),
        ({"half_open_requests": 101}, "E11203"),
    ],
)
def test_a_policy_that_no_breaker_can_work_with_is_refused(values, code):
    with pytest.raises(IntegrationError) as caught:
        CircuitBreakerConfig(**values)

    assert caught.value.code == code


def test_every_sequence_of_few_results_keeps_the_invariants():
    config = CircuitBreakerConfig(failure_threshold=2, half_open_requests=1, success_threshold=1, timeout_sec=1)
    for results in itertools.product([True, False], repeat=6):
        circuit = after(results, config=config)
        assert circuit.state in ("closed", "open")
        assert (circuit.state == "open") == (circuit.open_until_ms > 0)
