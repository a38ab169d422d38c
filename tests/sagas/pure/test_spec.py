"""The snapshot that a run keeps: it comes back as it was, and its hash changes with whatever decides how the run behaves."""

from __future__ import annotations

import json
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from sagas.spec import Call, RetryPolicy, SagaSpec, StepSpec, digest, from_dict
from sagas.states import Direction
from tests.sagas.pure.story import abc, saga, step

POLICY = RetryPolicy(max_retries=3, delay_sec=1, backoff=2, max_delay_sec=10)

calls = st.builds(Call, kind=st.sampled_from(["function", "http", "task", "local"]), target=st.text(max_size=20), where=st.text(max_size=9))
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 100),
    delay_sec=st.floats(0.1, 86_400),
    backoff=st.floats(1, 86_400),
    max_delay_sec=st.floats(0.1, 86_400),
)
steps = st.builds(
    StepSpec,
    step_id=st.text(min_size=1, max_size=9),
    step_name=st.text(max_size=9),
    do=calls,
    undo=st.none() | calls,
    timeout_sec=st.floats(0.1, 86_400),
    undo_timeout_sec=st.floats(0.1, 86_400),
    retry=policies,
    undo_retry=policies,
    required=st.booleans(),
    non_retryable=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    verify=st.none() | calls,
)
specs = st.builds(
    SagaSpec,
    saga_name=st.text(min_size=1, max_size=9),
    version=st.text(max_size=9),
    steps=st.lists(steps, min_size=1, max_size=3).map(tuple),
    timeout_sec=st.floats(0.1, 86_400),
    auto_compensate=st.booleans(),
    locks=st.lists(st.text(max_size=9), max_size=2).map(tuple),
)


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(specs)
def test_a_snapshot_comes_back_from_json_as_it_was(spec):
    back = from_dict(json.loads(json.dumps(spec.to_dict())))

    assert back == spec
    assert back.hash == digest(spec)
    assert from_dict(back.to_dict()).hash == back.hash


def test_the_hash_is_short_and_stable():
    assert digest(abc()) == digest(abc())
    assert len(digest(abc())) == 16


def test_the_name_of_the_version_does_not_change_the_hash():
    assert digest(replace(abc(), version="2")) == digest(abc())


@pytest.mark.parametrize(
    "other",
    [
        replace(abc(), timeout_sec=1),
        replace(abc(), auto_compensate=False),
        replace(abc(), saga_name="other"),
        saga(step("a"), step("b")),
        saga(step("b"), step("a"), step("c")),
        abc(undo=False),
        abc(required=False),
        abc(max_retries=1),
        abc(undo_max_retries=2),
        abc(verify=True),
    ],
)
def test_whatever_decides_how_a_run_behaves_changes_the_hash(other):
    assert digest(other) != digest(abc())


def test_a_step_has_a_call_and_a_limit_for_each_direction():
    plain = step("a")

    assert (plain.call(Direction.DO), plain.limit_sec(Direction.DO)) == (plain.do, 10)
    assert (plain.call(Direction.UNDO), plain.limit_sec(Direction.UNDO)) == (plain.undo, 20)
    assert step("a", undo=False).call(Direction.UNDO) is None


# --- delays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempt", "delay"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (100, 10)])
def test_delays_grow_up_to_their_cap(attempt, delay):
    assert POLICY.delay_before(attempt, jitter=0) == delay


def test_jitter_takes_away_half_at_most():
    assert POLICY.delay_before(1, jitter=0.5) == 0.75
    assert POLICY.delay_before(1, jitter=0.999) > 0.5


@settings(derandomize=True, deadline=None, max_examples=200, database=None)
@given(policies, st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_a_delay_stays_within_its_bounds_for_every_policy_that_a_definition_may_have(policy, attempt, jitter):
    full = policy.delay_before(attempt, jitter=0)

    assert 0 < full <= policy.max_delay_sec
    assert full / 2 <= policy.delay_before(attempt, jitter=jitter) <= full


def test_the_largest_backoff_stays_within_a_float():
    steep = RetryPolicy(max_retries=100, delay_sec=86_400, backoff=86_400, max_delay_sec=86_400)

    assert steep.delay_before(101, jitter=0) == 86_400
