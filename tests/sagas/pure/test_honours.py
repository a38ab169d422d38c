"""What a service says it honours decides how a step in doubt is treated (S6)."""

from __future__ import annotations

import pytest

from sagas import events, machine, plan
from sagas.states import Direction, StepStatus
from tests.sagas.pure.story import ERROR, abc, saga, step

NOW = 1000.0


def claimed(spec, honours):
    run = machine.start(spec, input={}, now=NOW, timeout_sec=100)
    claim = events.Claim(step=0, direction=Direction.DO, now=NOW, limit_sec=10, grace_sec=5, honours=honours)
    return machine.apply(spec, run, claim).run


def ended(spec, run, outcome):
    event = events.Failed(step=0, epoch=1, now=NOW + 1, outcome=outcome, error=ERROR)
    return machine.apply(spec, run, event).run


@pytest.mark.parametrize("outcome", ["unknown", "lost"])
def test_a_step_in_doubt_is_not_repeated_where_no_key_is_honoured(outcome):
    spec = abc(max_retries=3)

    run = ended(spec, claimed(spec, "none"), outcome)

    assert run.steps[0].status is StepStatus.UNKNOWN


@pytest.mark.parametrize("honours", ["", "key", "key and tombstone"])
def test_it_is_repeated_under_its_key_everywhere_else(honours):
    spec = abc(max_retries=3)

    run = ended(spec, claimed(spec, honours), "unknown")

    assert run.steps[0].status is StepStatus.WAITING


def test_a_certain_failure_is_repeated_everywhere():
    spec = abc(max_retries=3)

    assert ended(spec, claimed(spec, "none"), "failed").steps[0].status is StepStatus.WAITING


@pytest.mark.parametrize(("honours", "waits"), [("none", True), ("key", True), ("key and tombstone", False), ("", False)])
def test_without_tombstones_the_undo_waits_until_a_late_request_cannot_come_any_more(honours, waits):
    spec = saga(step("a"))

    run = ended(spec, claimed(spec, honours), "unknown")

    assert (plan.work(spec, run, now=NOW + 2) is None) is waits
    assert plan.work(spec, run, now=NOW + 1 + spec.steps[0].timeout_sec).direction is Direction.UNDO
    assert (plan.wake_at(spec, run, now=NOW + 2, pickup_sec=50) == NOW + 11) is waits
