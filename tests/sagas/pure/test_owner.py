"""A run that its caller drives: the caller's beats keep it, and without them an operator is asked."""

from __future__ import annotations

from tests.sagas.pure.story import START, UNDO, Story, step


def driven(*steps, **options):
    return Story(*steps or (step("a", max_retries=1), step("b")), owner_until=START + 8, **options)


def test_the_sweeper_leaves_a_run_alone_whose_caller_is_alive():
    story = driven()
    story.claims(0)

    assert story.wake_in == 8
    assert story.ticks(after=7).ignored == "its caller is alive"


def test_beats_keep_the_run():
    story = driven()

    story.beats(until=START + 20)

    assert story.ticks(after=19).ignored == "its caller is alive"


def test_the_caller_lets_time_work_on_its_own_run():
    story = driven()
    story.claims(0)

    story.ticks(after=15, by_owner=True)

    assert story.steps == "waiting pending"


def test_without_beats_an_operator_is_asked_and_what_ran_is_in_doubt():
    story = driven()
    story.claims(0)

    story.ticks(after=8)

    assert (story.status, story.run.error["code"], story.steps) == ("needs_operator", "E11429", "unknown pending")
    assert story.run.steps[0].lease_until is None
    assert story.wake_in is None


def test_an_undo_that_ran_when_the_caller_died_is_still_owed():
    story = driven()
    story.does(0)
    story.is_cancelled()
    story.claims(0, UNDO)

    story.ticks(after=8)

    assert (story.status, story.steps) == ("needs_operator", "compensating pending")
    assert story.run.error["code"] == "E11430"


def test_a_caller_that_comes_back_too_late_finds_the_run_gone():
    story = driven()
    epoch = story.claims(0)
    story.ticks(after=8)

    assert story.beats(until=START + 99).ignored == "not driven by its caller any more"
    assert story.succeeds(0, epoch=epoch).ignored == "late reply"
    assert story.offers(1).ignored == "not this step's turn"


def test_nobody_beats_for_a_run_that_workers_drive():
    story = Story(step("a"))

    assert story.beats(until=START + 99).ignored == "not driven by its caller any more"


def test_what_an_operator_sends_on_is_not_the_callers_any_more():
    story = driven(auto_compensate=False)
    story.ends(0, "refused")
    assert story.status == "failed"
    story.passes(100)

    story.is_retried()
    story.ticks()

    assert (story.status, story.run.owner_until) == ("running", None)


def test_what_an_operator_skips_is_not_the_callers_any_more():
    story = driven(auto_compensate=False)
    story.ends(0, "refused")

    story.skips(0)

    assert story.run.owner_until is None
