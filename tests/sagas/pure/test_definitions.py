"""What an author writes, and what becomes of it as data."""

from __future__ import annotations

import functools
from dataclasses import FrozenInstanceError, fields

import pytest

from sagas.definitions import SagaDefinition, SagaStep
from sagas.spec import Call, SagaSpec, StepSpec
from sagas.states import RunState, StepState
from sagas.steps import reference


def work(context):
    return {}


def undo_it(context):
    return None


def is_done(context):
    return "unknown"


class Shop:
    def ship(self, context):
        return {}

    @staticmethod
    def pack(context):
        return {}

    def __call__(self, context):
        return {}


def a_step(step_id="a", **fields):
    return SagaStep(**{"step_id": step_id, "action": work, **fields})


def test_a_function_of_a_module_is_named_so_that_workers_find_it():
    spec = SagaDefinition.create("order", [a_step(compensation=undo_it)]).spec()

    assert spec.steps[0].do == Call(kind="function", target=f"{__name__}:work")
    assert spec.steps[0].undo == Call(kind="function", target=f"{__name__}:undo_it")


def test_a_closure_stays_with_its_caller():
    ship, verify = (lambda context: {}), (lambda context: "unknown")
    definition = SagaDefinition.create("order", [a_step(action=ship, compensation=undo_it, verify=verify)])
    spec = definition.spec()

    assert spec.steps[0].do == Call(kind="local", target="a.do")
    assert spec.steps[0].verify == Call(kind="local", target="a.verify")
    assert definition.local_functions() == {"a.do": ship, "a.verify": verify}


def test_requests_tasks_waits_and_children_are_named_too():
    steps = [
        SagaStep(step_id="h", service_name="shop", endpoint="POST /orders", compensation_endpoint="DELETE /orders/1"),
        SagaStep(step_id="t", task="l03.reserve", compensation_task="l03.release", queue="l03"),
        SagaStep(step_id="w", wait_for="signal:approved"),
        SagaStep(step_id="c", saga="billing"),
    ]
    spec = SagaDefinition.create("order", steps).spec()

    assert [step.do for step in spec.steps] == [
        Call(kind="http", target="POST /orders", where="shop"),
        Call(kind="task", target="l03.reserve", where="l03"),
        Call(kind="wait", target="signal:approved"),
        Call(kind="saga", target="billing"),
    ]
    assert [step.undo for step in spec.steps] == [
        Call(kind="http", target="DELETE /orders/1", where="shop"),
        Call(kind="task", target="l03.release", where="l03"),
        None,
        Call(kind="saga", target="billing"),
    ]


def test_times_policies_and_names_become_data():
    written = a_step(
        timeout_sec=5,
        compensation_timeout_sec=9,
        max_retries=1,
        compensation_max_retries=2,
        non_retryable=("ValueError", 404),
        verify=is_done,
    )
    spec = SagaDefinition.create("order", [written], timeout_sec=60, auto_compensate=False).spec()
    step = spec.steps[0]

    assert (spec.timeout_sec, spec.auto_compensate) == (60.0, False)
    assert (step.step_name, step.timeout_sec, step.undo_timeout_sec) == ("a", 5.0, 9.0)
    assert (step.retry.max_retries, step.undo_retry.max_retries) == (1, 2)
    assert step.non_retryable == ("ValueError", "404")


def test_an_undo_takes_the_time_of_its_action_unless_it_is_given_its_own():
    assert SagaDefinition.create("order", [a_step(timeout_sec=7)]).spec().steps[0].undo_timeout_sec == 7.0


def test_a_definition_without_a_version_is_named_by_its_hash():
    plain, other = SagaDefinition.create("order", [a_step()]), SagaDefinition.create("order", [a_step(max_retries=0)])

    assert plain.spec().version == plain.spec().hash != other.spec().version


def test_a_given_version_names_it():
    assert SagaDefinition.create("order", [a_step()], version=3).spec().version == "3"


def test_a_definition_holds_no_state_of_a_run():
    definition = SagaDefinition.create("order", [a_step()])
    of_runs = {field.name for state in (RunState, StepState) for field in fields(state)} - {"steps"}

    for value in (definition, definition.steps[0], definition.spec(), definition.spec().steps[0]):
        assert not of_runs & {field.name for field in fields(value)}
        with pytest.raises(FrozenInstanceError):
            value.timeout_sec = 1
    assert SagaSpec.__hash__ is not None
    assert StepSpec.__hash__ is not None


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (work, f"{__name__}:work"),
        (Shop.pack, f"{__name__}:Shop.pack"),
        (Shop.ship, f"{__name__}:Shop.ship"),
        (Shop().ship, None),
        (Shop(), None),
        (lambda context: {}, None),
        (functools.partial(work), None),
    ],
)
def test_only_what_another_process_can_import_has_a_reference(function, found):
    assert reference(function) == found


def test_a_function_that_hides_behind_anothers_name_has_no_reference():
    def impostor(context):
        return {}

    impostor.__qualname__ = "work"

    assert reference(impostor) is None


def test_what_was_defined_in_the_main_program_has_no_reference(monkeypatch):
    monkeypatch.setattr(work, "__module__", "__main__")

    assert reference(work) is None
