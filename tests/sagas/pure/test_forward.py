"""Going forward: claims, duplicates and late replies, retries, and what the deadline and a lost process do to them."""

from __future__ import annotations

import pytest

from tests.sagas.pure.story import ERROR, GRACE_SEC, START, UNDO, Story, abc, moves_of, saga, step


def test_a_saga_starts_pending_with_an_absolute_deadline():
    story = Story(spec=abc())

    assert (story.status, story.steps) == ("pending", "pending pending pending")
    assert story.run.deadline_at == START + 100


def test_steps_run_one_after_another_to_the_end():
    story = Story(spec=abc())

    story.does(0, 1, 2)

    assert (story.status, story.steps) == ("completed", "completed completed completed")
    assert [state.started_seq for state in story.run.steps] == [0, 1, 2]
    assert story.work is None
    assert story.wake_in is None


def test_a_claim_is_a_move_of_its_own_before_the_effect():
    story = Story(spec=abc())

    verdict = story.offers(0, task_id="t-1")

    assert moves_of(verdict) == ["pending -> running", "pending -> running"]
    assert story.run.steps[0].task_id == "t-1"
    assert story.run.steps[0].lease_until == START + 10 + GRACE_SEC
    assert (story.run.steps[0].epoch, story.run.steps[0].attempts) == (1, 1)


def test_a_second_delivery_loses_the_claim_and_changes_nothing():
    story = Story(spec=abc())
    story.claims(0)
    before = story.run

    assert story.offers(0).ignored == "not this step's turn"
    assert story.run == before


@pytest.mark.parametrize(("index", "direction"), [(1, "do"), (2, "do"), (0, "undo")])
def test_a_step_out_of_turn_is_not_given_out(index, direction):
    story = Story(spec=abc())

    assert story.offers(index, UNDO if direction == "undo" else story.work.direction).ignored == "not this step's turn"


def test_a_finished_step_is_not_given_out_again():
    story = Story(spec=abc())
    story.does(0)

    assert story.offers(0).ignored == "not this step's turn"


def test_a_double_reply_is_ignored():
    story = Story(spec=abc())
    story.does(0)
    before = story.run

    assert story.succeeds(0, {"again": True}).ignored == "late reply"
    assert story.fails(0).ignored == "late reply"
    assert story.is_held(0, until=START + 5).ignored == "late reply"
    assert story.verifies(0, "did_not").ignored == "late reply"
    assert story.run == before


def test_a_zombie_that_reports_under_an_old_epoch_is_ignored():
    story = Story(step("a", max_retries=1))
    old = story.claims(0)
    story.ticks(after=20)
    story.passes(5)
    new = story.claims(0)

    assert story.succeeds(0, {"from": "the dead"}, epoch=old).ignored == "late reply"
    assert story.steps == "running"

    story.succeeds(0, {"from": "the living"}, epoch=new)
    assert story.run.steps[0].output == {"from": "the living"}


def test_a_refusal_turns_back_at_once_without_retries():
    story = Story(step("a"), step("b", max_retries=5))
    story.does(0)

    story.ends(1, "refused")

    assert (story.status, story.run.cause) == ("compensating", "refused")
    assert story.steps == "completed failed"


def test_a_failure_is_retried_after_its_delay_and_then_decided():
    story = Story(step("a", max_retries=1))
    story.ends(0, "failed")

    assert (story.status, story.steps) == ("running", "waiting")
    assert story.run.steps[0].due_at == START + 1
    assert story.offers(0).ignored == "not this step's turn"

    story.passes(1)
    story.ends(0, "failed")
    assert (story.status, story.run.cause, story.steps) == ("compensated", "step_failed", "failed")


def test_a_service_may_ask_for_a_longer_pause_but_not_for_a_shorter_one():
    story = Story(step("a", max_retries=2))
    story.claims(0)
    story.fails(0, retry_after_sec=7)
    assert story.run.steps[0].due_at == START + 7

    story.passes(7)
    story.claims(0)
    story.fails(0, retry_after_sec=0.5)
    assert story.run.steps[0].due_at == story.now + 2


def test_jitter_takes_up_to_half_of_a_delay_away():
    story = Story(step("a", max_retries=1))
    story.claims(0)

    story.fails(0, jitter=0.5)

    assert story.run.steps[0].due_at == START + 0.75


def test_what_is_not_worth_a_retry_gets_none():
    story = Story(step("a", max_retries=5))
    story.claims(0)

    story.fails(0, retryable=False)

    assert (story.status, story.steps) == ("compensated", "failed")


def test_a_retry_that_would_come_after_the_deadline_is_not_made():
    story = Story(step("a", max_retries=5), timeout_sec=1)

    story.ends(0, "failed")

    assert (story.status, story.run.cause) == ("compensated", "step_failed")


def test_the_first_error_is_the_cause_and_names_its_step():
    story = Story(spec=abc())
    story.does(0)

    story.ends(1, "failed")

    assert story.run.error == {**ERROR, "step_id": "b"}
    assert story.run.steps[1].error == ERROR


def test_a_step_that_is_not_required_is_skipped_and_the_saga_goes_on():
    story = Story(step("a", required=False), step("b"))

    story.ends(0, "refused")
    assert (story.status, story.steps) == ("running", "skipped pending")

    story.does(1)
    assert (story.status, story.run.error) == ("completed", None)


def test_a_saga_may_end_on_a_skipped_step():
    story = Story(step("a", required=False))

    story.ends(0, "failed")

    assert (story.status, story.steps) == ("completed", "skipped")


# --- lost processes -------------------------------------------------------------------------------------------------


def test_a_lease_that_ended_gives_the_step_to_another_worker():
    story = Story(step("a", max_retries=1))
    story.claims(0)

    story.ticks(after=14.9)
    assert story.steps == "running"

    story.ticks(after=0.1)
    assert story.steps == "waiting"
    assert story.run.steps[0].may_have_happened
    assert story.run.steps[0].error["code"] == "E11442"


def test_a_step_that_takes_its_process_down_three_times_in_a_row_is_not_tried_again():
    story = Story(step("a", max_retries=50))
    for _ in range(3):
        story.claims(0)
        story.ticks(after=15)
        story.passes(5)

    assert (story.status, story.run.cause) == ("compensating", "lost")
    assert story.steps == "unknown"
    assert story.run.steps[0].attempts == 3


def test_losses_count_only_in_a_row():
    story = Story(step("a", max_retries=50), timeout_sec=1000)
    for outcome in ("lost", "lost", "failed", "lost", "lost"):
        story.ends(0, outcome)
        story.passes(60)

    assert (story.status, story.steps) == ("running", "waiting")
    assert story.run.steps[0].losses == 2


# --- the deadline ---------------------------------------------------------------------------------------------------


def test_no_lease_reaches_beyond_the_deadline_and_its_grace():
    story = Story(step("a"), timeout_sec=3)

    story.claims(0)

    assert story.run.steps[0].lease_until == START + 3 + GRACE_SEC


def test_no_step_starts_after_the_deadline():
    story = Story(spec=abc())
    story.does(0)
    story.passes(100)

    assert story.offers(1).ignored == "the deadline has passed"


def test_a_deadline_that_passes_between_steps_turns_the_saga_back():
    story = Story(spec=abc())
    story.does(0)

    story.ticks(after=100)

    assert (story.status, story.run.cause) == ("compensating", "timeout")
    assert story.run.error == {"code": "E11445", "message": "the saga ran over its time"}


def test_a_deadline_that_passes_while_a_step_runs_lets_it_end_and_then_turns_back():
    story = Story(step("a"), step("b"), timeout_sec=5)
    story.claims(0)

    story.ticks(after=5)
    assert (story.status, story.run.cause, story.steps) == ("running", "timeout", "running pending")

    story.succeeds(0)
    assert (story.status, story.steps) == ("compensating", "completed pending")


def test_a_step_cut_off_at_the_deadline_is_a_timeout_of_the_saga_and_unknown():
    story = Story(step("a", required=False, max_retries=3), timeout_sec=5)
    story.claims(0)
    story.passes(5)

    story.fails(0, "unknown")

    assert (story.status, story.run.cause, story.steps) == ("compensating", "timeout", "unknown")
    assert story.run.error["last"] == ERROR


def test_when_the_last_step_has_happened_before_anybody_saw_the_deadline_the_saga_is_completed():
    story = Story(step("a"), timeout_sec=5)
    story.claims(0)
    story.passes(6)

    story.succeeds(0)

    assert story.status == "completed"


# --- held and blocked -----------------------------------------------------------------------------------------------


def test_an_attempt_held_back_by_an_open_circuit_is_given_back():
    story = Story(step("a"), step("b"))
    story.does(0)
    story.claims(1)

    story.is_held(1, until=START + 30)

    assert (story.status, story.steps) == ("waiting", "completed waiting")
    assert story.run.steps[1].attempts == 0
    assert story.wake_in == 30

    story.passes(30)
    story.does(1)
    assert story.status == "completed"


def test_what_was_held_and_never_tried_ends_as_if_it_had_never_begun():
    story = Story(step("a"))
    story.claims(0)
    story.is_held(0, until=START + 500)

    story.ticks(after=100)

    assert (story.status, story.steps) == ("compensated", "pending")


def test_a_held_step_of_a_saga_that_turns_back_does_not_make_it_wait():
    story = Story(step("a"), step("b"))
    story.does(0)
    story.claims(1)
    story.is_cancelled()

    story.is_held(1, until=START + 30)

    assert (story.status, story.steps) == ("compensating", "completed pending")


def test_work_that_nobody_can_begin_makes_the_run_wait_visibly():
    story = Story(spec=abc())
    story.does(0)

    story.is_blocked()

    assert story.status == "waiting"
    assert story.run.blocked_reason == "E11431: nobody knows it"
    assert story.run.blocked_at == START

    story.passes(10)
    story.does(1)
    assert (story.status, story.run.blocked_at, story.run.blocked_reason) == ("running", None, "")


def test_an_operator_is_asked_when_nobody_can_begin_it_for_too_long():
    story = Story(spec=abc())
    story.is_blocked(patience_sec=30)
    story.passes(29)
    story.is_blocked(patience_sec=30)
    assert story.status == "waiting"

    story.passes(1)
    story.is_blocked(patience_sec=30)

    assert story.status == "needs_operator"
    assert story.run.error == {"code": "E11431", "message": "nobody knows it"}


def test_a_worker_that_cannot_begin_what_another_has_begun_is_ignored():
    story = Story(spec=abc())
    story.claims(0)

    assert story.is_blocked().ignored == "no work lies ready"


def test_an_undo_that_nobody_can_begin_stays_an_undo_and_goes_to_an_operator():
    story = Story(spec=abc())
    story.does(0)
    story.is_cancelled()

    story.is_blocked(patience_sec=30)
    assert story.status == "compensating"

    story.passes(30)
    story.is_blocked(patience_sec=30)
    assert (story.status, story.run.cause) == ("needs_operator", "cancelled")
    assert story.run.error["code"] == "E11430"


# --- messages -------------------------------------------------------------------------------------------------------


def test_messages_nobody_picks_up_are_sent_again_ever_later_but_not_forever_later():
    story = Story(spec=abc(), timeout_sec=10_000)

    waits = [story.wake_in]
    for _ in range(5):
        story.ticks()
        waits.append(story.wake_in)

    assert waits == [4, 8, 16, 16, 16, 16]


def test_the_count_of_messages_fits_its_column_however_long_nobody_comes():
    story = Story(spec=saga(step("a"), timeout_sec=30 * 24 * 3600))

    for _ in range(40_000):
        story.ticks(after=20)

    assert story.run.hints <= 32_767


def test_a_claim_starts_the_count_of_messages_again():
    story = Story(spec=abc())
    story.ticks()
    story.ticks()

    story.claims(0)

    assert story.run.hints == 0
