"""Turning back: what is undone, in which order, how often, and what remains for an operator."""

from __future__ import annotations

import pytest

from sagas import plan
from tests.sagas.pure.story import ERROR, UNDO, Story, abc, step, turned_back


def test_undo_runs_in_reverse_order_of_start():
    story = Story(spec=abc())
    story.does(0, 1)
    story.ends(2, "refused")

    assert story.undo_order() == ["b", "a"]
    assert (story.status, story.steps) == ("compensated", "compensated compensated failed")


def test_the_order_is_that_of_the_starts_and_not_of_the_ends_or_the_definition():
    story = Story(step("a", group="g"), step("b", group="g"), step("c", group="g"), step("d"))
    for index in (2, 0, 1):
        story.claims(index)
    for index in (1, 2, 0):
        story.succeeds(index)

    story.ends(3, "refused")

    assert story.undo_order() == ["b", "a", "c"]


@pytest.mark.parametrize("outcome", ["unknown", "lost"])
def test_a_step_that_ended_ambiguously_is_undone_too_without_an_output(outcome):
    story = Story(step("a"), step("b"))
    story.does(0)

    story.ends(1, outcome)

    assert story.steps == "completed unknown"
    assert story.run.steps[1].output is None
    assert story.undo_order() == ["b", "a"]


def test_one_ambiguous_attempt_is_enough_whatever_the_later_ones_say():
    story = Story(step("a", max_retries=2))
    story.ends(0, "unknown")
    story.passes(5)

    story.ends(0, "refused")

    assert (story.steps, story.run.cause) == ("unknown", "refused")
    assert story.undo_order() == ["a"]


def test_a_skipped_step_is_undone_only_if_it_may_have_happened():
    story = Story(step("a", required=False), step("b", required=False), step("c"))
    story.ends(0, "unknown")
    story.ends(1, "failed")

    story.ends(2, "refused")

    assert story.steps == "skipped skipped failed"
    assert story.undo_order() == ["a"]


def test_a_step_without_an_undo_is_left_as_it_is():
    story = turned_back(step("a", undo=False), step("b"), done=(0, 1))

    assert story.undo_order() == ["b"]
    assert (story.status, story.steps) == ("compensated", "completed compensated pending")


def test_a_saga_with_nothing_to_undo_is_compensated_at_once():
    story = turned_back(step("a"))

    assert (story.status, story.run.cause) == ("compensated", "cancelled")


def test_without_auto_compensate_it_fails_and_nothing_is_undone():
    story = Story(step("a"), step("b"), auto_compensate=False)
    story.does(0)

    story.ends(1, "refused")

    assert (story.status, story.run.cause, story.steps) == ("failed", "refused", "completed failed")
    assert story.work is None


def test_undoing_has_its_own_retries_and_no_deadline():
    story = turned_back(step("a", undo_max_retries=2), done=(0,))
    story.passes(10_000)

    story.ends(0, "failed", UNDO)
    assert story.wake_in == 1
    story.passes(1)
    story.ends(0, "unknown", UNDO)
    story.passes(2)
    story.undoes(0)

    assert (story.status, story.run.steps[0].undo_error) == ("compensated", None)


def test_an_undo_has_its_full_time_even_after_the_deadline():
    story = turned_back(step("a"), done=(0,))
    story.passes(10_000)

    story.claims(0, UNDO)

    assert story.run.steps[0].lease_until == story.now + 25


def test_an_undo_waits_for_its_next_try_and_the_ones_before_it_wait_too():
    story = turned_back(step("a"), step("b"), done=(0, 1))

    story.ends(1, "failed", UNDO)

    assert story.work is None
    assert story.offers(0, UNDO).ignored == "not this step's turn"


def test_a_failing_undo_does_not_stop_the_others_and_the_run_needs_an_operator():
    story = turned_back(step("a"), step("b", undo_max_retries=0), done=(0, 1))
    story.ends(1, "failed", UNDO)

    story.undoes(0)

    assert (story.status, story.steps) == ("needs_operator", "compensated compensation_failed pending")
    assert story.last.changes[-1].reason == "rollback incomplete: b could not be undone"


def test_undo_errors_are_kept_apart_from_the_cause():
    story = Story(step("a", undo_max_retries=0), step("b"))
    story.does(0)
    story.ends(1, "refused")
    first = story.run.error

    story.claims(0, UNDO)
    story.fails(0, error={"code": "E11443", "message": "undo broke"})

    assert story.run.error == first == {**ERROR, "step_id": "b"}
    assert story.run.steps[0].undo_error == {"code": "E11443", "message": "undo broke"}
    assert story.run.steps[0].error is None


def test_a_refused_undo_is_not_retried():
    story = turned_back(step("a", undo_max_retries=9), done=(0,))

    story.ends(0, "refused", UNDO)

    assert story.steps == "compensation_failed pending"


def test_an_undo_that_takes_its_process_down_three_times_in_a_row_is_given_up():
    story = turned_back(step("a", undo_max_retries=9), done=(0,))
    for _ in range(3):
        story.claims(0, UNDO)
        story.ticks(after=30)
        story.passes(10)

    assert (story.status, story.steps) == ("needs_operator", "compensation_failed pending")


def test_an_undo_held_back_by_an_open_circuit_costs_no_try():
    story = turned_back(step("a", undo_max_retries=0), done=(0,))
    story.claims(0, UNDO)

    story.is_held(0, until=story.now + 30)
    assert (story.status, story.run.steps[0].undo_attempts, story.wake_in) == ("compensating", 0, 30)

    story.passes(30)
    story.undoes(0)
    assert story.status == "compensated"


def test_a_late_action_does_not_count_as_its_undo():
    story = Story(step("a"))
    epoch = story.claims(0)
    story.ticks(after=15)
    story.claims(0, UNDO)

    assert story.succeeds(0, epoch=epoch).ignored == "late reply"
    assert story.steps == "compensating"


def test_an_undo_gets_the_data_of_the_time_of_its_action():
    story = Story(step("a"), step("b"), step("c"))
    for index, output in enumerate(({"id": 1}, {"id": 2}, {"id": 3})):
        story.claims(index)
        story.succeeds(index, output, served_by=f"i-{index}")

    assert plan.context(story.spec, story.run, upto=1) == {"order": 7, "id": 2}
    assert plan.context(story.spec, story.run) == {"order": 7, "id": 3}
    assert story.run.steps[1].served_by == "i-1"
