"""Steps side by side, the point of no return, and authors who are asked what happened."""

from __future__ import annotations

import pytest

from sagas.machine import IllegalMove
from tests.sagas.pure.story import START, Story, step


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
