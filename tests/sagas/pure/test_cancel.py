"""Cancelling: no new step, the running one ends, then everything is undone."""

from __future__ import annotations

import pytest

from sagas.machine import IllegalMove
from tests.sagas.pure.story import Story, abc, step, turned_back


def test_cancelling_lets_the_running_step_end_then_undoes_everything():
    story = Story(spec=abc())
    story.does(0)
    story.claims(1)

    story.is_cancelled()
    assert (story.status, story.run.cause, story.work) == ("running", "cancelled", None)

    story.succeeds(1)
    assert (story.status, story.steps) == ("compensating", "completed completed pending")
    assert story.undo_order() == ["b", "a"]


def test_a_running_step_that_fails_after_the_cancel_gets_no_retry_and_is_not_the_cause():
    story = Story(step("a", max_retries=5))
    story.claims(0)
    story.is_cancelled()

    story.fails(0, "unknown")

    assert (story.steps, story.run.cause) == ("unknown", "cancelled")
    assert story.run.error["code"] == "E11430"


def test_an_optional_step_that_fails_after_the_cancel_is_not_skipped():
    story = Story(step("a", required=False))
    story.claims(0)
    story.is_cancelled()

    story.fails(0, "unknown")

    assert story.steps == "unknown"
    assert story.undo_order() == ["a"]


def test_cancelling_ends_the_wait_for_a_retry():
    story = Story(step("a", max_retries=5), step("b", max_retries=5))
    story.does(0)
    story.ends(1, "failed")

    story.is_cancelled()

    assert (story.status, story.steps) == ("compensating", "completed failed")


def test_cancelling_twice_changes_nothing():
    story = turned_back(step("a"), done=(0,))
    before = story.run

    assert story.is_cancelled().ignored == "already turning back"
    assert story.run == before


def test_a_saga_that_has_ended_cannot_be_cancelled():
    story = Story(step("a"))
    story.does(0)

    with pytest.raises(IllegalMove, match="a completed saga cannot be cancelled"):
        story.is_cancelled()


def test_time_does_nothing_to_a_saga_that_has_ended():
    story = Story(step("a"))
    story.does(0)

    assert story.ticks(after=10_000).ignored == "final"


def test_a_cancel_stands_in_the_history_also_while_a_step_runs():
    story = Story(spec=abc())
    story.claims(0)

    assert [change.reason for change in story.is_cancelled().changes] == ["cancelled: changed my mind; what runs now ends first"]


def test_a_cancel_that_the_pivot_overtakes_stands_in_the_history():
    story = Story(step("a"), step("p", undo=False, kind="pivot"), step("z", undo=False, kind="retriable"))
    story.does(0)
    story.claims(1)
    story.is_cancelled()

    said = [change.reason for change in story.succeeds(1).changes]

    assert "goes on, for its pivot has happened: E11430: cancelled: changed my mind" in said
    assert (story.status, story.run.cause) == ("running", None)
