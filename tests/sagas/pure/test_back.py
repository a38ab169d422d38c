"""Turning back: what is undone, in which order, how often, and what remains for an operator."""

from __future__ import annotations

import pytest

from sagas import plan
from sagas.machine import IllegalMove
from sagas.states import SagaStatus
from tests.sagas.pure.story import ERROR, START, UNDO, Story, abc, step


def turned_back(*steps, done=()):
    """Return a saga that did some steps and was then cancelled, before its last step z."""
    story = Story(*steps, step("z"))
    story.does(*done)
    story.is_cancelled()
    return story


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


# --- cancelling -----------------------------------------------------------------------------------------------------


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


# --- parallel groups ------------------------------------------------------------------------------------------------


def grouped():
    return Story(step("a", group="g", max_retries=1), step("b", group="g", max_retries=1), step("c"))


def test_a_failure_starts_no_sibling_waits_for_the_running_ones_and_undoes_once():
    story = Story(step("a", group="g"), step("b", group="g"), step("c", group="g"))
    story.claims(0)
    story.claims(1)

    story.fails(0, "refused")
    assert (story.status, story.steps, story.work) == ("running", "failed running pending", None)

    story.succeeds(1)
    assert story.undo_order() == ["b"]
    assert story.status == "compensated"


def test_two_siblings_may_both_be_held_back():
    story = grouped()
    story.claims(0)
    story.claims(1)

    story.is_held(0, until=START + 5)
    story.is_held(1, until=START + 9)

    assert (story.status, story.steps, story.wake_in) == ("waiting", "waiting waiting pending", 5)


def test_the_step_after_a_group_waits_for_all_of_it():
    story = grouped()
    story.does(0)
    assert story.offers(2).ignored == "not this step's turn"

    story.does(1)
    story.does(2)
    assert story.status == "completed"


def test_of_two_failing_siblings_the_first_is_the_cause():
    story = grouped()
    story.claims(0)
    story.claims(1)
    story.fails(1, "refused", error={"code": "E11432", "message": "first"})

    story.fails(0, "unknown", error={"code": "E11442", "message": "second"})

    assert (story.run.error["message"], story.run.error["step_id"]) == ("first", "b")
    assert story.undo_order() == ["a"]


# --- the pivot ------------------------------------------------------------------------------------------------------


def pivoted(**options):
    return Story(step("a"), step("p", undo=False, kind="pivot", **options), step("r", undo=False, kind="retriable", max_retries=1))


def test_before_the_pivot_a_saga_turns_back():
    story = pivoted()
    story.does(0)

    story.ends(1, "refused")

    assert (story.status, story.steps) == ("compensating", "completed failed pending")


@pytest.mark.parametrize("turn", ["is_cancelled", "is_turned_back"])
def test_beyond_the_pivot_nobody_can_turn_it_back(turn):
    story = pivoted()
    story.does(0, 1)

    with pytest.raises(IllegalMove, match="past its pivot"):
        getattr(story, turn)()


def test_beyond_the_pivot_the_deadline_does_not_count():
    story = pivoted()
    story.does(0, 1)
    story.ticks(after=10_000)

    story.does(2)

    assert story.status == "completed"


def test_beyond_the_pivot_a_step_that_cannot_be_done_waits_for_an_operator():
    story = pivoted()
    story.does(0, 1)
    story.ends(2, "failed")
    story.passes(5)

    story.ends(2, "failed")

    assert (story.status, story.run.error["code"], story.run.error["step_id"]) == ("needs_operator", "E11433", "r")


def test_a_pivot_that_nobody_knows_about_waits_for_an_operator():
    story = pivoted()
    story.does(0)

    story.ends(1, "unknown")

    assert (story.status, story.run.error["step_id"]) == ("needs_operator", "p")
    assert story.steps == "completed unknown pending"


def test_a_pivot_that_succeeds_after_a_cancel_wins():
    story = pivoted()
    story.does(0)
    story.claims(1)
    story.is_cancelled()

    story.succeeds(1)

    assert (story.status, story.run.cause, story.run.error) == ("running", None, None)
    assert story.work.steps == (2,)


@pytest.mark.parametrize("turn", ["cancel", "deadline"])
def test_a_pivot_that_may_have_happened_is_not_turned_back_from_while_it_waits_for_its_retry(turn):
    story = pivoted(max_retries=5)
    story.does(0)
    story.ends(1, "unknown")
    assert story.steps == "completed waiting pending"

    story.is_cancelled() if turn == "cancel" else story.ticks(after=100)

    assert (story.status, story.steps) == ("needs_operator", "completed unknown pending")


# --- verify ---------------------------------------------------------------------------------------------------------


def asked():
    """Return a saga whose last try ended ambiguously, and whose author is now asked."""
    story = Story(step("a", verify=True))
    story.ends(0, "unknown")
    assert (story.status, story.steps, story.run.steps[0].verify_only) == ("running", "waiting", True)
    story.claims(0)
    return story


def test_a_step_that_happened_after_all_is_completed():
    story = asked()

    story.succeeds(0)

    assert (story.status, story.run.steps[0].attempts, story.run.steps[0].verify_only) == ("completed", 1, False)


def test_a_step_that_did_not_happen_is_not_undone():
    story = asked()

    story.verifies(0, "did_not")

    assert (story.status, story.steps, story.run.steps[0].verify_only) == ("compensated", "failed", False)


def test_a_step_that_even_its_author_does_not_know_about_is_undone():
    story = asked()

    story.verifies(0, "unknown")

    assert story.steps == "unknown"
    assert story.undo_order() == ["a"]


def test_asking_is_not_an_attempt_and_being_held_back_meanwhile_gives_none_back():
    story = asked()

    story.is_held(0, until=START + 5)

    assert (story.steps, story.run.steps[0].attempts) == ("waiting", 1)


def test_did_not_before_a_retry_clears_the_doubt_and_keeps_the_attempt():
    story = Story(step("a", verify=True, max_retries=2))
    story.ends(0, "unknown")
    story.passes(5)
    story.claims(0)

    story.verifies(0, "did_not")
    assert (story.steps, story.run.steps[0].may_have_happened) == ("running", False)

    story.fails(0, "refused")
    assert (story.status, story.steps) == ("compensated", "failed")


def test_unknown_before_a_retry_changes_nothing():
    story = Story(step("a", verify=True, max_retries=2))
    story.ends(0, "unknown")
    story.passes(5)
    story.claims(0)

    story.verifies(0, "unknown")

    assert (story.steps, story.run.steps[0].may_have_happened) == ("running", True)


def test_a_process_lost_while_asking_leaves_the_step_unknown():
    story = asked()

    story.ticks(after=20)

    assert story.steps == "unknown"


def test_the_author_is_not_asked_once_the_saga_turns_back():
    story = Story(step("a", verify=True))
    story.claims(0)
    story.is_cancelled()

    story.fails(0, "unknown")

    assert story.steps == "unknown"


# --- operators ------------------------------------------------------------------------------------------------------


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
