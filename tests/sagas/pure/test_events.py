"""Events that steps wait for: each ends one wait, early or late, however often it is delivered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sagas.pure.story import Story, step, wait


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
