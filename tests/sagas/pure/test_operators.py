"""What an operator may do to a run that has ended or stands still, and what not."""

from __future__ import annotations

import pytest

from sagas.machine import IllegalMove
from sagas.states import SagaStatus
from tests.sagas.pure.story import START, UNDO, Story, abc, step, turned_back


def parked():
    """Return a saga that nobody could go on with after its first step."""
    story = Story(spec=abc(max_retries=1))
    story.does(0)
    story.is_blocked(patience_sec=0)
    assert story.status == "needs_operator"
    return story


def test_an_operator_sends_a_parked_saga_on_with_new_time():
    story = parked()
    story.passes(500)

    story.is_retried()
    assert (story.status, story.run.error, story.run.deadline_at) == ("running", None, story.now + 100)

    story.does(1, 2)
    assert story.status == "completed"


def test_an_operator_retries_a_failed_saga_from_the_step_that_failed():
    story = Story(step("a"), step("b"), auto_compensate=False)
    story.does(0)
    story.ends(1, "failed")

    story.is_retried()

    assert (story.status, story.steps, story.run.cause) == ("running", "completed pending", None)
    assert story.run.steps[1].attempts == 0
    story.does(1)
    assert story.status == "completed"


def test_a_retry_that_is_turned_back_before_its_first_try_still_undoes_what_may_have_happened():
    story = Story(step("a"), auto_compensate=False)
    story.ends(0, "unknown")
    story.is_retried()
    story.is_cancelled()
    assert story.steps == "unknown"

    story.is_turned_back()

    assert story.undo_order() == ["a"]


def test_a_retry_of_a_step_that_was_to_be_verified_runs_it():
    story = Story(step("a", verify=True), auto_compensate=False)
    story.ends(0, "unknown")
    story.claims(0)
    story.ticks(after=20)

    story.is_retried()
    story.claims(0)

    assert (story.run.steps[0].verify_only, story.run.steps[0].attempts) == (False, 1)


def test_a_retry_does_not_wait_for_a_delay_of_before():
    story = Story(step("a", max_retries=5))
    story.ends(0, "failed")
    story.passes(1)
    story.is_blocked(patience_sec=0)
    assert story.steps == "waiting"

    story.is_retried()

    assert story.work.steps == (0,)


def test_a_retry_does_not_wait_for_the_time_that_its_undo_would_have_waited():
    story = Story(step("a"), auto_compensate=False)
    story.claims(0, honours="key")
    story.fails(0, "unknown")
    assert story.run.steps[0].due_at == START + 10

    story.is_retried()

    assert story.work.steps == (0,)


def test_a_retry_of_a_rollback_goes_through_the_undos_that_failed():
    story = turned_back(step("a"), step("b", undo_max_retries=0), done=(0, 1))
    story.ends(1, "failed", UNDO)
    story.undoes(0)

    story.is_retried()
    assert (story.status, story.steps) == ("compensating", "compensated compensating pending")

    story.undoes(1)
    assert story.status == "compensated"


def test_an_operator_turns_a_parked_saga_back():
    story = parked()

    story.is_turned_back()

    assert (story.status, story.run.cause) == ("compensating", "cancelled")
    assert story.undo_order() == ["a"]


def test_turning_back_undoes_what_waited_for_a_retry_and_may_have_happened():
    story = Story(step("a", max_retries=5))
    story.ends(0, "unknown")
    story.passes(1)
    story.is_blocked(patience_sec=0)

    story.is_turned_back()

    assert story.steps == "unknown"
    assert story.undo_order() == ["a"]


@pytest.mark.parametrize("ask", ["is_retried", "is_turned_back"])
@pytest.mark.parametrize("end", ["completed", "compensated", "running", "compensating"])
def test_an_operator_can_do_nothing_to_a_saga_that_runs_or_ended_well(ask, end):
    story = Story(step("a"))
    if end == "completed":
        story.does(0)
    elif end == "running":
        story.claims(0)
    else:
        story.does() if end == "compensated" else story.claims(0)
        story.is_cancelled()
        if end == "compensating":
            story.fails(0, "unknown")
    assert story.status == end

    with pytest.raises(IllegalMove):
        getattr(story, ask)()


def test_skipping_a_step_that_was_done_by_hand_goes_on_after_it():
    story = Story(step("a"), step("b"), auto_compensate=False)
    story.ends(0, "refused")

    story.skips(0)

    assert (story.status, story.steps, story.run.cause) == ("running", "skipped pending", None)
    story.does(1)
    assert story.status == "completed"


def test_skipping_an_undo_that_was_done_by_hand_ends_the_rollback():
    story = turned_back(step("a", undo_max_retries=0), done=(0,))
    story.ends(0, "failed", UNDO)
    assert story.status == "needs_operator"

    story.skips(0)

    assert (story.status, story.steps) == ("compensated", "compensated pending")


def test_a_step_cannot_be_skipped_forward_once_undoing_has_begun():
    story = Story(step("a", undo_max_retries=0), step("b"))
    story.does(0)
    story.ends(1, "refused")
    story.ends(0, "failed", UNDO)
    assert (story.status, story.steps) == ("needs_operator", "compensation_failed failed")

    with pytest.raises(IllegalMove):
        story.skips(1)


def test_a_step_that_happened_cannot_be_skipped():
    story = parked()

    with pytest.raises(IllegalMove, match="a completed step does not become skipped"):
        story.skips(0)


@pytest.mark.parametrize("outcome", [SagaStatus.COMPLETED, SagaStatus.COMPENSATED])
def test_an_operator_ends_a_saga_that_was_put_right_by_hand(outcome):
    story = parked()

    story.is_resolved(outcome)

    assert story.run.status is outcome
    assert story.last.changes[0].reason == "by hand: put right"


def test_a_saga_is_not_resolved_as_anything_else():
    story = parked()

    with pytest.raises(IllegalMove, match="not as failed"):
        story.is_resolved(SagaStatus.FAILED)


def test_a_completed_child_is_undone_by_its_parent_and_by_nobody_else():
    story = Story(step("a"))
    story.does(0)
    with pytest.raises(IllegalMove):
        story.is_turned_back()

    story.is_turned_back(by_parent=True)

    assert story.run.error == {"code": "E11430", "message": "turned back: give up"}
    assert story.undo_order() == ["a"]
    assert story.status == "compensated"


def test_what_failed_beside_a_step_that_is_skipped_is_tried_again():
    story = Story(step("a", group="g"), step("b", group="g"), auto_compensate=False)
    story.claims(0)
    story.claims(1)
    story.fails(0)
    story.fails(1)
    assert story.status == "failed"

    story.skips(0)

    assert (story.status, story.steps) == ("running", "skipped pending")
    story.does(1)
    assert story.status == "completed"


def parked_on_its_way_back():
    """Return a cancelled saga whose first undo nobody could begin."""
    story = Story(spec=abc())
    story.does(0, 1)
    story.is_cancelled()
    story.is_blocked(patience_sec=0)
    assert (story.status, story.run.cause) == ("needs_operator", "cancelled")
    return story


def test_retry_of_a_saga_that_was_parked_on_its_way_back_goes_back():
    story = parked_on_its_way_back()

    story.is_retried()

    assert (story.status, story.run.cause) == ("compensating", "cancelled")
    assert story.undo_order() == ["b", "a"]


def test_an_undo_that_nobody_could_begin_may_be_done_by_hand():
    story = parked_on_its_way_back()

    story.skips(1)

    assert (story.status, story.steps) == ("compensating", "completed compensated pending")
    assert story.undo_order() == ["a"]


def test_a_saga_that_was_parked_on_its_way_back_skips_no_step_that_owes_nothing():
    with pytest.raises(IllegalMove, match="has turned back"):
        parked_on_its_way_back().skips(2)
