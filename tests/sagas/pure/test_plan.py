"""What follows from a state: the chain that may be linked, the context, and when somebody must look again."""

from __future__ import annotations

import pytest

from sagas import plan
from sagas.states import RunState, SagaStatus, StepState, StepStatus
from tests.sagas.pure.story import DO, START, UNDO, Story, abc, saga, step, wait


def test_the_rest_of_the_chain_begins_at_the_first_step_that_is_not_done():
    story = Story(step("a"), step("b", required=False), step("c"), step("d"))
    story.does(0)
    story.ends(1, "failed")

    assert story.work == plan.Work(direction=DO, branches=((2, 3),))


def test_nothing_may_begin_while_a_step_runs():
    story = Story(spec=abc())
    story.claims(0)

    assert story.work is None


def test_the_chain_back_holds_all_that_is_owed():
    story = Story(spec=abc())
    story.does(0, 1)
    story.is_cancelled()

    assert story.work == plan.Work(direction=UNDO, branches=((1, 0),))


def test_a_chain_ends_before_a_group_and_before_a_wait():
    spec = saga(step("a"), step("b"), step("c", group="g"), step("d", group="g"), step("e"), wait("timer:1"), step("f"))

    assert plan.segment(spec, 0) == (0, 1)
    assert plan.segment(spec, 4) == (4,)
    assert plan.segment(spec, 6) == (6,)


def test_the_steps_of_a_group_are_branches_of_their_own():
    story = Story(step("a"), step("b", group="g"), step("c", group="g"), step("d"))
    story.does(0)

    assert story.work == plan.Work(direction=DO, branches=((1,), (2,)))
    assert story.work.offers(2)
    assert not story.work.offers(3)


def test_a_sibling_that_waits_for_its_retry_holds_nobody_else_up():
    story = Story(step("a", group="g", max_retries=1), step("b", group="g"))
    story.ends(0, "failed")

    assert story.work.branches == ((1,),)


@pytest.mark.parametrize(("index", "members"), [(0, [0]), (1, [1, 2]), (2, [1, 2]), (3, [3])])
def test_a_group_is_its_neighbours_of_one_name(index, members):
    spec = saga(step("a"), step("b", group="g"), step("c", group="g"), step("d", group="h"))

    assert list(plan.group_of(spec, index)) == members


def test_before_somebody_cancels_it_is_known_what_that_would_undo():
    story = Story(step("a"), step("b", undo=False), step("c", max_retries=1), step("d", group="g"), step("e", group="g", max_retries=1))
    story.does(0, 1, 2)
    story.claims(3)
    story.ends(4, "unknown")

    assert plan.would_undo(story.spec, story.run) == (4, 3, 2, 0)


def test_a_step_that_failed_for_certain_would_not_be_undone():
    story = Story(step("a"), step("b", max_retries=1))
    story.does(0)
    story.ends(1, "failed")

    assert plan.would_undo(story.spec, story.run) == (0,)


def test_a_running_undo_is_told_from_a_running_action():
    story = Story(step("a"), step("b"))
    story.claims(0)
    assert not plan.is_undoing(story.run.steps[0])

    story.succeeds(0)
    story.is_cancelled()
    story.claims(0, UNDO)
    assert plan.is_undoing(story.run.steps[0])


# --- the context ----------------------------------------------------------------------------------------------------


def context_after(*outputs, upto=None):
    story = Story(*(step(f"s{number}") for number in range(len(outputs))))
    for index, output in enumerate(outputs):
        story.claims(index)
        story.succeeds(index, output)
    return plan.context(story.spec, story.run, upto=upto)


def test_the_context_is_the_input_with_the_outputs_over_it():
    assert context_after({"a": 1}, {"b": 2, "order": 8}) == {"order": 8, "a": 1, "b": 2}


def test_an_output_that_is_no_object_stands_under_its_steps_name():
    assert context_after(5, [1], "text", None) == {"order": 7, "s0": 5, "s1": [1], "s2": "text"}


def test_a_later_output_goes_over_an_earlier_one_in_order_of_start():
    spec = saga(step("a", group="g"), step("b", group="g"))
    steps = (StepState(started_seq=1, output={"x": "second"}), StepState(started_seq=0, output={"x": "first"}))

    assert plan.context(spec, RunState(steps=steps, deadline_at=START)) == {"x": "second"}


def test_up_to_a_step_the_context_is_as_it_was_when_that_ended():
    assert context_after({"a": 1}, {"a": 2}, {"a": 3}, upto=1) == {"order": 7, "a": 2}


def test_what_an_action_saw_does_not_depend_on_the_order_of_start():
    spec = saga(step("a", group="g"), step("b", group="g"), step("c", group="g"))
    steps = tuple(StepState(started_seq=seq, output={name: seq}) for seq, name in enumerate("abc"))

    assert plan.context(spec, RunState(steps=steps, deadline_at=START), upto=1, seen={"c"}) == {"b": 1, "c": 2}


def test_before_a_step_the_context_has_the_outputs_of_those_listed_before_it():
    story = Story(spec=abc())
    for index in range(3):
        story.claims(index)
        story.succeeds(index, {"a": index})

    assert plan.context(story.spec, story.run, before=1) == {"order": 7, "a": 0}


def test_up_to_a_step_that_never_started_it_is_todays():
    story = Story(spec=abc())
    story.does(0)

    assert plan.context(story.spec, story.run, upto=2) == {"order": 7}


# --- when somebody must look ------------------------------------------------------------------------------------------


def test_a_new_run_is_looked_at_when_its_first_message_was_not_picked_up():
    assert Story(spec=abc()).wake_in == 4


def test_a_running_step_is_looked_at_when_its_lease_ends():
    story = Story(step("a"))
    story.claims(0)

    assert story.wake_in == 15


def test_the_deadline_comes_before_a_later_lease():
    story = Story(step("a"), timeout_sec=12)
    story.claims(0)

    assert story.wake_in == 12


def test_a_retry_is_looked_at_when_it_is_due_and_then_when_nobody_picked_it_up():
    story = Story(step("a", max_retries=1))
    story.ends(0, "failed")
    assert story.wake_in == 1

    story.passes(1)
    assert story.wake_in == 4


def test_the_deadline_does_not_matter_once_a_run_turned_back():
    story = Story(step("a"), step("b"), timeout_sec=2)
    story.does(0)
    story.is_cancelled()

    assert story.wake_in == 4


def test_a_child_is_looked_at_sooner_than_its_lease_ends():
    story = Story(step("a", do=("saga", "other")))
    story.claims(0)

    assert story.wake_in == 4


def test_a_run_in_a_state_nobody_foresaw_is_looked_at_all_the_same():
    stuck = RunState(status=SagaStatus.COMPENSATING, steps=(StepState(status=StepStatus.COMPLETED),), deadline_at=START)

    assert plan.wake_at(saga(step("a", undo=False)), stuck, now=START, pickup_sec=4) == START + 4
