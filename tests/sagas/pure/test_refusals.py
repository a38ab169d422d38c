"""A bad definition is refused with the code of what is wrong."""

from __future__ import annotations

from functools import partial

import pytest

from hub.errors import IntegrationError
from sagas.definitions import SagaDefinition, SagaStep
from tests.sagas.pure.test_definitions import a_step, is_done, undo_it


def refused(code, *steps, **fields):
    with pytest.raises(IntegrationError, match=f"^{code}: ") as caught:
        SagaDefinition.create(**{"saga_name": "order", "steps": list(steps) or [a_step()], **fields})
    return str(caught.value)


@pytest.mark.parametrize("name", ["", "1st", "a b", "ä", "a/b", "a" * 101, "order\n", None, 7])
def test_a_malformed_saga_name_is_refused(name):
    refused("E11401", saga_name=name)


def test_a_reserved_saga_name_is_refused():
    refused("E11482", saga_name="hub.mine")


@pytest.mark.parametrize("steps", [[], {}, "abc", None, [{"step_id": "a"}], (step for step in ())])
def test_steps_that_are_no_list_of_steps_are_refused(steps):
    refused("E11402", steps=steps)


def test_too_many_steps_are_refused():
    SagaDefinition.create("order", [a_step(f"s{number}") for number in range(200)])

    refused("E11460", *(a_step(f"s{number}") for number in range(201)))


def test_two_steps_that_wait_for_one_signal_are_refused():
    first, second = (SagaStep(step_id=name, wait_for="signal:approved", timeout_sec=10) for name in ("first", "second"))

    assert "may be delivered twice" in refused("E11405", first, second)


def test_a_step_id_used_twice_is_refused():
    refused("E11403", a_step("a"), a_step("b"), a_step("a"))


@pytest.mark.parametrize("step_id", ["", "a/b", "-a", "a" * 65, "a\n", None, 7])
def test_a_malformed_step_id_is_refused(step_id):
    refused("E11404", a_step(step_id))


@pytest.mark.parametrize("step_name", ["n" * 201, None, 7])
def test_a_step_name_that_cannot_be_stored_is_refused(step_name):
    refused("E11404", a_step(step_name=step_name))


@pytest.mark.parametrize("version", ["", "v" * 65, "1\n"])
def test_a_malformed_version_is_refused(version):
    refused("E11413", version=version)


@pytest.mark.parametrize("fields", [{"locks": "order:{id}"}, {"locks": [7]}, {"locks": [""]}, {"locks": 7}, {"on_lock": "perhaps"}])
def test_malformed_locks_are_refused(fields):
    refused("E11902", **fields)


def test_locks_become_data():
    spec = SagaDefinition.create("order", [a_step()], locks=["order:{id}"], on_lock="refuse").spec()

    assert (spec.locks, spec.on_lock) == (("order:{id}",), "refuse")


def test_an_event_to_wait_for_is_a_topic_without_wildcards():
    with pytest.raises(IntegrationError):
        SagaDefinition.create("order", [SagaStep(step_id="w", wait_for="event:agent.")])


@pytest.mark.parametrize(
    "fields",
    [
        {"action": None},
        {"task": "l03.reserve", "queue": "l03"},
        {"action": "work"},
        {"compensation": "undo"},
        {"compensation": undo_it, "compensation_task": "l03.release", "queue": "l03"},
        {"action": None, "endpoint": "POST /x"},
        {"action": None, "endpoint": "POST /x", "service_name": ""},
        {"action": None, "endpoint": "POST /x\n", "service_name": "shop"},
        {"action": None, "endpoint": "post /x", "service_name": "shop"},
        {"action": None, "endpoint": "POST x", "service_name": "shop"},
        {"action": None, "endpoint": "POST http://other/x", "service_name": "shop"},
        {"action": None, "endpoint": "", "service_name": "shop"},
        {"action": None, "endpoint": 7, "service_name": "shop"},
        {"compensation_endpoint": "", "service_name": "shop"},
        {"action": None, "task": "l03.reserve"},
        {"action": None, "task": "", "queue": "l03"},
        {"action": None, "task": "l03 reserve", "queue": "l03"},
        {"action": None, "task": "l03.reserve\n", "queue": "l03"},
        {"action": None, "task": 7, "queue": "l03"},
        {"compensation_task": "", "queue": "l03"},
        {"action": None, "wait_for": ""},
        {"action": None, "wait_for": "approved"},
        {"action": None, "wait_for": "timer:soon"},
        {"action": None, "wait_for": "signal:approved\n"},
        {"action": None, "wait_for": 7},
        {"action": None, "wait_for": "timer:5", "compensation": undo_it},
        {"action": None, "wait_for": "timer:5", "verify": is_done},
        {"action": None, "saga": ""},
        {"action": None, "saga": "a b"},
        {"action": None, "saga": 7},
        {"action": None, "saga": "billing", "compensation": undo_it},
        {"verify": "is_done"},
    ],
)
def test_a_step_that_does_not_say_what_to_do_is_refused(fields):
    refused("E11405", a_step(**fields))


def written_with_yield(context):
    yield


async def written_with_yield_and_async(context):
    yield


@pytest.mark.parametrize("function", [written_with_yield, written_with_yield_and_async, partial(written_with_yield, {})])
@pytest.mark.parametrize("name", ["action", "compensation", "verify"])
def test_a_function_that_would_not_run_when_called_is_refused(name, function):
    assert "yield" in refused("E11405", a_step(**{name: function}))


@pytest.mark.parametrize("name", ["timeout_sec", "compensation_timeout_sec"])
@pytest.mark.parametrize("value", [0, -1, 86_401, float("nan"), float("inf"), True, "5"])
def test_a_step_timeout_out_of_range_is_refused(name, value):
    assert name in refused("E11407", a_step(**{name: value}))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_retries", [-1, 101, 1.5, True, None, "3"]),
        ("compensation_max_retries", [-1, 101, True]),
        ("retry_delay_sec", [0, 0.09, 86_401, float("nan"), True, "1"]),
        ("retry_backoff", [0.5, 86_401, float("inf"), None]),
        ("retry_max_delay_sec", [0, 86_401]),
        ("non_retryable", ["ValueError", 404, [None], {"ValueError"}]),
    ],
)
def test_a_malformed_retry_policy_is_refused(name, values):
    for value in values:
        assert name in refused("E11408", a_step(**{name: value}))


@pytest.mark.parametrize("value", [0, -1, 30 * 86_400 + 1, float("nan"), True, None, "300"])
def test_a_saga_timeout_out_of_range_is_refused(value):
    refused("E11414", timeout_sec=value)


def timer(step_id, seconds, **fields):
    return SagaStep(step_id=step_id, wait_for=f"timer:{seconds}", **fields)


def test_timers_that_together_outlast_the_saga_are_refused():
    two = [timer("one", 30), a_step("a"), timer("other", 30)]

    assert "waits for 60 s by its timers, and has 60 s in all" in refused("E11414", *two, timeout_sec=60)
    assert SagaDefinition.create("order", two, timeout_sec=61)


def test_timers_of_one_group_run_beside_each_other_and_those_after_a_pivot_turn_nothing_back():
    beside = [timer("one", 30, parallel_group="g"), timer("other", 50, parallel_group="g")]
    beyond = [pivot("p"), timer("later", 3_600, kind="retriable")]

    assert SagaDefinition.create("order", beside, timeout_sec=60)
    assert SagaDefinition.create("order", beyond, timeout_sec=60)


def test_an_error_shows_no_more_than_the_beginning_of_what_was_given():
    assert len(refused("E11401", saga_name="x y" * 1000)) < 300


def test_a_group_whose_members_are_not_neighbours_is_refused():
    refused("E11416", a_step("a", parallel_group="g"), a_step("b"), a_step("c", parallel_group="g"))


def pivot(step_id="p", **fields):
    return a_step(step_id, kind="pivot", **fields)


def retriable(step_id="r", **fields):
    return a_step(step_id, kind="retriable", **fields)


def undoable(step_id="u", **fields):
    return a_step(step_id, compensation=undo_it, **fields)


def test_a_saga_around_a_pivot_is_accepted():
    SagaDefinition.create("order", [undoable(), pivot(), retriable()])


@pytest.mark.parametrize(
    "steps",
    [
        [a_step(kind="final")],
        [pivot("p"), pivot("q")],
        [retriable()],
        [retriable(), pivot()],
        [a_step(), pivot()],
        [pivot(), undoable()],
        [pivot(compensation=undo_it)],
        [pivot(required=False)],
        [pivot(), retriable(compensation=undo_it)],
        [pivot(), retriable(required=False)],
        [pivot(parallel_group="g")],
    ],
)
def test_an_order_in_which_it_could_neither_go_on_nor_turn_back_is_refused(steps):
    refused("E11415", *steps)
