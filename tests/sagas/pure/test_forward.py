"""Going forward: claims, duplicates and late replies, refusals and retries."""

from __future__ import annotations

import pytest

from tests.sagas.pure.story import ERROR, GRACE_SEC, START, UNDO, Story, abc, moves_of, step


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
