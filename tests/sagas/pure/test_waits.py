"""Steps that only wait: for a time, a signal, an event. No worker runs them, and nothing is undone of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagas.machine import IllegalMove
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


def test_an_event_wakes_only_who_waits_now():
    story = Story(step("a"), wait("event:agent.created"))

    assert story.learns("event:agent.created").ignored == "nothing waits for it"

    story.does(0)
    story.learns("event:agent.created", {"id": 1})
    assert story.status == "completed"


def test_an_event_of_the_runs_own_that_comes_early_is_kept():
    story = Story(step("a"), wait("event:paid"), step("b"), timeout_sec=1000)
    story.claims(0)

    story.learns("event:paid", {"sum": 7}, is_its_own=True)
    story.succeeds(0)

    assert (story.status, story.steps, story.run.steps[1].output) == ("running", "completed completed pending", {"sum": 7})
    assert story.learns("event:paid", event_id="e2", is_its_own=True).ignored == "nothing waits for it"


def test_early_events_end_the_waits_in_the_order_they_came():
    story = Story(step("a"), wait("event:paid", step_id="first"), wait("event:paid", step_id="second"), timeout_sec=1000)
    for event_id in ("e2", "e1", "e2"):
        story.learns("event:paid", {"of": event_id}, event_id=event_id, is_its_own=True)

    story.does(0)

    assert story.status == "completed"
    assert [step.output for step in story.run.steps[1:]] == [{"of": "e2"}, {"of": "e1"}]


def test_an_early_event_that_is_delivered_again_later_ends_one_wait():
    story = Story(step("a"), wait("event:paid", step_id="first"), wait("event:paid", step_id="second"), timeout_sec=1000)
    story.learns("event:paid", is_its_own=True)
    story.does(0)

    assert story.learns("event:paid", is_its_own=True).ignored == "that event is here already"

    assert story.steps == "completed completed waiting"


def test_an_event_that_comes_too_late_is_there_when_an_operator_sends_the_run_on():
    story = Story(step("p", undo=False, kind="pivot"), wait("event:paid"), timeout_sec=1000)
    story.does(0)
    story.ticks(after=10)
    assert story.status == "needs_operator"

    story.learns("event:paid", {"sum": 7}, is_its_own=True)
    story.is_retried()

    assert (story.status, story.run.steps[1].output) == ("completed", {"sum": 7})


def test_no_more_events_are_kept_than_will_be_waited_for():
    story = Story(step("a"), wait("event:paid", step_id="first"), wait("event:paid", step_id="second"))

    for number in range(5):
        story.learns("event:paid", "x" * 1000, event_id=f"e{number}", is_its_own=True)

    assert [event_id for event_id, _ in story.run.signals["event:paid"]] == ["e0", "e1"]


def test_however_many_events_a_run_took_a_signal_is_kept_beside_them():
    story = Story(*(wait("event:part", step_id=f"w{number}") for number in range(60)), step("a"), wait("signal:approved"))
    story.ticks()
    for number in range(55):
        story.learns("event:part", event_id=f"e{number}")

    assert not story.hears("signal:approved").ignored


def twice_for_an_event():
    story = Story(wait("event:paid", step_id="first"), wait("event:paid", step_id="second"))
    story.ticks()
    return story


def test_an_event_that_is_delivered_twice_ends_one_wait():
    story = twice_for_an_event()

    story.learns("event:paid", {"part": 1}, event_id="e1")
    assert story.learns("event:paid", {"part": 1}, event_id="e1").ignored == "that event is here already"
    assert story.steps == "completed waiting"

    story.learns("event:paid", {"part": 2}, event_id="e2")
    assert (story.status, story.run.steps[1].output) == ("completed", {"part": 2})


def test_an_event_that_came_while_an_operator_was_asked_ends_one_wait():
    first = replace(wait("event:paid", step_id="first"), parallel_group="g")
    story = Story(step("a", group="g"), first, wait("event:paid", step_id="second"), timeout_sec=1000)
    story.ticks()
    story.is_blocked(patience_sec=0)
    story.is_retried()
    story.is_blocked(patience_sec=0)
    assert (story.status, story.steps) == ("needs_operator", "pending waiting pending")

    story.learns("event:paid", {"part": 1}, event_id="e1")
    story.is_retried()
    story.learns("event:paid", {"part": 1}, event_id="e1")
    story.does(0)
    story.learns("event:paid", {"part": 1}, event_id="e1")

    assert story.steps == "completed completed waiting"


@pytest.mark.parametrize("come", ["early", "late"])
def test_one_event_ends_one_of_two_waits_side_by_side_whenever_it_comes(come):
    first, second = (replace(wait("event:paid", step_id=name), parallel_group="g") for name in ("first", "second"))
    story = Story(step("a"), first, second, timeout_sec=1000)
    if come == "late":
        story.does(0)

    story.learns("event:paid", event_id="e1", is_its_own=True)
    if come == "early":
        story.does(0)

    assert story.steps == "completed completed waiting"
    assert story.learns("event:paid", event_id="e1", is_its_own=True).ignored == "that event is here already"
    story.learns("event:paid", event_id="e2", is_its_own=True)
    assert story.status == "completed"


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
