"""Steps that only wait: for a time, a signal, an event. No worker runs them, and nothing is undone of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagas.machine import IllegalMove
from sagas.states import SagaStatus
from tests.sagas.pure.story import START, Story, saga, step, wait


def waiting_for(target, **options):
    """Return a saga that waits after its first step."""
    story = Story(step("a"), wait(target, **options), step("b"), timeout_sec=1000)
    story.does(0)
    assert (story.status, story.steps) == ("waiting", "completed waiting pending")
    return story


def test_a_timer_ends_by_itself():
    story = waiting_for("timer:30")
    assert story.wake_in == 30

    story.ticks(after=29)
    assert story.status == "waiting"

    story.ticks(after=1)
    assert (story.status, story.steps) == ("running", "completed completed pending")
    assert story.work.steps == (2,)


def test_a_timer_that_ran_out_while_something_else_happened_is_looked_at_at_once():
    story = waiting_for("timer:30")
    story.passes(31)

    story.hears("signal:other")

    assert story.wake_in <= 0


def test_a_signal_ends_the_wait_and_brings_its_payload():
    story = waiting_for("signal:approved")

    story.hears("signal:approved", {"by": "ann"})

    assert story.run.steps[1].output == {"by": "ann"}
    assert (story.status, story.work.steps) == ("running", (2,))


def test_another_signal_does_not():
    story = waiting_for("signal:approved")

    story.hears("signal:refused")

    assert story.status == "waiting"


def test_a_signal_that_came_early_is_kept_and_the_first_of_its_name_counts():
    story = Story(step("a"), wait("signal:approved"))
    story.hears("signal:approved", {"by": "ann"})
    assert story.hears("signal:approved", {"by": "bob"}).ignored == "that signal is here already"

    story.does(0)

    assert (story.status, story.run.steps[1].output) == ("completed", {"by": "ann"})


def test_a_wait_that_takes_too_long_turns_the_saga_back():
    story = waiting_for("signal:approved")

    story.ticks(after=10)

    assert (story.status, story.run.cause, story.steps) == ("compensating", "step_failed", "completed failed pending")
    assert (story.run.error["code"], story.run.error["step_id"]) == ("E11441", "w")


def test_a_wait_that_is_not_required_is_skipped_when_it_takes_too_long():
    story = waiting_for("signal:approved", required=False)

    story.ticks(after=10)

    assert (story.status, story.steps) == ("running", "completed skipped pending")


def test_a_wait_after_the_pivot_that_takes_too_long_needs_an_operator():
    story = Story(step("p", undo=False, kind="pivot"), wait("signal:approved"), timeout_sec=1000)
    story.does(0)

    story.ticks(after=10)

    assert (story.status, story.run.error["code"]) == ("needs_operator", "E11433")


def test_a_saga_may_begin_with_a_wait_and_somebody_looks_at_once():
    story = Story(wait("timer:5"), step("b"))
    assert story.wake_in == 0

    story.ticks()

    assert (story.status, story.wake_in) == ("waiting", 5)


def test_a_saga_of_nothing_but_a_wait_ends_even_if_its_signal_was_there_before_it_began():
    story = Story(wait("signal:go"))

    story.hears("signal:go")

    assert (story.status, story.steps) == ("completed", "completed")


def test_a_wait_leaves_nothing_to_undo():
    story = waiting_for("signal:approved")
    story.hears("signal:approved")

    story.ends(2, "refused")

    assert story.undo_order() == ["a"]
    assert story.steps == "compensated completed failed"


def test_a_cancelled_wait_never_began():
    story = waiting_for("signal:approved")

    story.is_cancelled()

    assert (story.status, story.steps) == ("compensating", "completed pending pending")


def test_a_wait_runs_beside_its_siblings():
    story = Story(step("a", group="g"), step("w", undo=False, group="g", do=("wait", "signal:go")), step("b"))
    story.ticks()
    assert story.steps == "pending waiting pending"

    story.does(0)
    story.hears("signal:go")

    assert (story.status, story.work.steps) == ("running", (2,))


def test_a_saga_that_has_ended_takes_no_signals():
    story = Story(step("a"))
    story.does(0)

    with pytest.raises(IllegalMove, match="takes no signals"):
        story.hears("signal:approved")


def test_an_operator_lets_a_wait_begin_anew():
    story = Story(step("p", undo=False, kind="pivot"), wait("signal:approved"), timeout_sec=1000)
    story.does(0)
    story.ticks(after=10)

    story.is_retried()
    assert (story.status, story.steps) == ("waiting", "completed waiting")

    story.hears("signal:approved")
    assert story.status == "completed"


def test_an_operator_goes_on_without_a_wait():
    story = Story(step("p", undo=False, kind="pivot"), wait("signal:approved"), timeout_sec=START)
    story.does(0)
    story.ticks(after=10)

    story.skips(1)

    assert (story.status, story.steps) == ("completed", "completed skipped")


def two_waits_beside_a_step(**options):
    waits = (step(name, undo=False, group="g", do=("wait", f"signal:{name}"), **options) for name in ("v", "w"))
    return Story(step("a", group="g"), *waits, timeout_sec=1000)


def test_two_waits_may_stand_side_by_side():
    story = two_waits_beside_a_step()

    story.ticks()

    assert (story.status, story.steps) == ("waiting", "pending waiting waiting")


def test_a_wait_beside_a_running_step_is_given_up_without_it():
    story = two_waits_beside_a_step(required=False)
    story.claims(0)

    story.ticks(after=10)

    assert (story.status, story.steps) == ("running", "running skipped skipped")


def test_a_retry_lets_waits_beside_a_blocked_step_begin_anew():
    story = two_waits_beside_a_step()
    story.is_blocked(patience_sec=0)
    story.is_retried()
    story.is_blocked(patience_sec=0)
    assert (story.status, story.steps) == ("needs_operator", "pending waiting waiting")
    story.passes(100)

    story.is_retried()

    assert (story.status, story.steps) == ("waiting", "pending waiting waiting")
    assert story.run.steps[1].due_at == story.now + 10


def test_what_comes_while_an_operator_is_asked_is_kept_for_when_the_saga_goes_on():
    story = Story(spec=saga(replace(wait("event:paid"), parallel_group="g"), step("b", group="g"), timeout_sec=1000))
    story.ticks()
    story.is_blocked(patience_sec=0)
    assert story.status == "needs_operator"

    assert not story.learns("event:paid", {"sum": 7}).ignored
    assert story.learns("event:other", {}).ignored == "nothing waits for it"
    story.is_retried()

    assert (story.steps, story.run.steps[0].output) == ("completed pending", {"sum": 7})


def test_a_run_says_that_it_waits_when_its_other_steps_have_ended():
    story = Story(step("a", group="g"), step("b", group="g"), wait_in_group("signal:approved"), timeout_sec=1000)
    story.claims(0)
    story.claims(1)

    story.succeeds(0)
    assert story.status == "running"

    story.succeeds(1)
    assert (story.status, story.steps) == ("waiting", "completed completed waiting")


def test_a_run_says_that_it_waits_while_another_of_its_waits_goes_on():
    story = Story(step("w", undo=False, group="g", do=("wait", "signal:one")), step("v", undo=False, group="g", do=("wait", "signal:two")))
    story.ticks()

    story.hears("signal:one")

    assert (story.status, story.steps) == ("waiting", "completed waiting")


def test_a_timer_goes_on_while_its_run_is_parked():
    story = Story(step("a", group="g"), wait_in_group("timer:30"), timeout_sec=1000)
    story.ticks()
    story.is_blocked(patience_sec=0)
    story.passes(20)

    story.is_retried()

    assert (story.steps, story.run.steps[1].due_at) == ("pending waiting", START + 30)


def test_a_timer_that_was_over_while_its_run_was_parked_is_over():
    story = Story(step("a", group="g"), wait_in_group("timer:30"), timeout_sec=1000)
    story.ticks()
    story.is_blocked(patience_sec=0)
    story.passes(40)
    story.is_retried()

    story.ticks()

    assert story.steps == "pending completed"


def test_a_run_that_was_ended_by_hand_waits_for_nothing():
    story = Story(step("a", group="g"), wait_in_group("event:paid"), timeout_sec=1000)
    story.ticks()
    story.is_blocked(patience_sec=0)

    story.is_resolved(SagaStatus.COMPLETED)

    assert (story.run.steps[1].waiting_for, story.run.steps[1].due_at) == ("", None)


def wait_in_group(target):
    return step("w", undo=False, group="g", do=("wait", target))
