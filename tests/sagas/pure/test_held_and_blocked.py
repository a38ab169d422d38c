"""Work that cannot begin: its target is away, or no worker can do it."""

from __future__ import annotations

from tests.sagas.pure.story import START, UNDO, Story, abc, step


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


def test_nobody_is_asked_while_a_sibling_runs():
    story = Story(step("a", group="g"), step("b", group="g"))
    story.claims(0)

    story.is_blocked(patience_sec=0)
    assert story.status == "waiting"

    story.succeeds(0)
    story.is_blocked(patience_sec=0)
    assert (story.status, story.steps) == ("needs_operator", "completed pending")


def held_undo():
    story = Story(step("a"), step("b"), step("z"))
    story.does(0, 1)
    story.is_cancelled()
    return story


def test_an_undo_that_is_held_says_so_since_when():
    story = held_undo()
    began = story.now
    for _ in range(3):
        story.claims(1, UNDO)
        story.is_held(1, until=story.now + 5)
        story.passes(5)

    assert (story.run.blocked_at, story.run.blocked_reason) == (began, "circuit open")
    assert story.run.steps[1].undo_error == {"code": "E11443", "message": "not tried: circuit open", "held_since": began}
    assert story.run.steps[1].undo_attempts == 0


def test_an_undo_that_is_held_for_an_hour_lets_the_others_go_on_and_comes_before_an_operator():
    story = held_undo()
    while story.steps.split()[1] != "compensation_failed":
        story.claims(1, UNDO)
        story.is_held(1, until=story.now + 600)
        story.passes(600)

    assert story.now - START == 4_200
    assert story.undo_order() == ["a"]
    assert (story.status, story.run.blocked_at) == ("needs_operator", None)


def test_a_run_that_stalls_while_a_sibling_is_blocked_was_not_parked_for_that():
    """What was parked because nobody could begin it is sent on by the hub itself; a stall is for an operator."""
    story = Story(step("p", undo=False, kind="pivot"), step("b", undo=False, group="g"), step("c", undo=False, group="g"))
    story.does(0)
    story.claims(1)
    story.is_blocked()

    story.fails(1, "unknown")

    assert (story.status, story.run.error["code"]) == ("needs_operator", "E11433")
    assert (story.run.blocked_at, story.run.blocked_reason) == (None, "")
