"""What time does: leases that end, processes that were lost, the deadline, messages that nobody picks up."""

from __future__ import annotations

from tests.sagas.pure.story import ERROR, GRACE_SEC, START, Story, abc, saga, step


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


def test_no_lease_reaches_beyond_the_deadline_and_its_grace():
    story = Story(step("a"), timeout_sec=3)

    story.claims(0)

    assert story.run.steps[0].lease_until == START + 3 + GRACE_SEC


def test_a_short_lease_ends_long_before_the_step_may():
    story = Story(step("a", max_retries=1))

    story.claims(0, lease_sec=3)

    assert story.run.steps[0].lease_until == START + 3
    assert story.wake_in == 3
    story.ticks(after=3)
    assert story.steps == "waiting"


def test_a_lease_is_never_longer_than_the_call_may_take():
    story = Story(step("a"))

    story.claims(0, lease_sec=1000)

    assert story.run.steps[0].lease_until == START + 10 + GRACE_SEC


def test_a_renewed_lease_keeps_the_step():
    story = Story(step("a", max_retries=1))
    story.claims(0, lease_sec=3)
    story.passes(2)

    assert not story.renews(0, until=story.now + 3).ignored

    story.ticks(after=2)
    assert story.steps == "running"
    story.ticks(after=1)
    assert story.steps == "waiting"


def test_a_renewal_never_shortens_a_lease():
    story = Story(step("a"))
    story.claims(0)

    assert story.renews(0, until=story.now + 1).ignored == "nothing new"


def test_what_was_given_up_cannot_be_renewed():
    story = Story(step("a", max_retries=1))
    epoch = story.claims(0, lease_sec=3)
    story.ticks(after=3)

    assert story.renews(0, until=story.now + 3, epoch=epoch).ignored == "given up"
    story.passes(5)
    story.claims(0, lease_sec=3)
    assert story.renews(0, until=story.now + 9, epoch=epoch).ignored == "given up"


def test_a_step_that_runs_on_while_its_saga_turns_back_may_be_renewed():
    story = Story(step("a"), step("b"))
    story.claims(0, lease_sec=3)
    story.is_cancelled()

    assert not story.renews(0, until=story.now + 5).ignored


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
