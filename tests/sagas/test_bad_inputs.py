"""Every bad input of a saga's start and of its definition gets its code, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from hub import SagaDefinition, SagaStep
from hub.errors import IntegrationError
from sagas import accept, catalog, preflight, services, tasks
from sagas.models import SagaExecution, SagaTransition
from tests.telemetry.compact import load

pytestmark = pytest.mark.django_db(transaction=True)

ENTRIES = load(Path(__file__).parent / "data" / "bad_inputs.json")
DEFINED = [entry for entry in ENTRIES if entry["surface"] == "saga_definition"]
STARTED = [entry for entry in ENTRIES if entry["surface"] == "task:saga_start"]
TASKS = {"hub.sagas.start": tasks.start, "hub.sagas.cancel": tasks.cancel}


def by_title(entry):
    return entry["title"]


def built(given):
    """Return the definition that the data describes, as an author would write it."""
    given = {name: value for name, value in given.items() if name not in ("beside", "published_before")}
    steps = given["steps"]
    if isinstance(steps, dict) and "$range_steps" in steps:
        steps = [{"step_id": f"s{number}", "saga": "other"} for number in range(steps["$range_steps"])]
    if isinstance(steps, list):
        steps = [SagaStep(**step) for step in steps]
    return SagaDefinition.create(**{**given, "steps": steps})


def published(given):
    """Define the saga beside the others, check it against what is there, and accept a run of it."""
    module = ModuleType("a_saga_module")
    for number, one in enumerate([given, *given.get("beside", ())]):
        setattr(module, f"saga_{number}", built(one))
    spec = catalog.collect([module]).specs[given["saga_name"], str(given["version"])]
    if spec.preflight:
        preflight.check(spec, spec.timeout_sec)
    accept.accept(spec, accept.Request())


@pytest.mark.parametrize("entry", DEFINED, ids=by_title)
def test_a_bad_definition_is_refused(entry):
    given = entry["input"]
    if given.get("published_before"):
        published({**given, "steps": [{**given["steps"][0], "step_name": "As it was"}]})
    before = SagaExecution.objects.count()

    with pytest.raises(IntegrationError) as caught:
        published(given)

    assert_refused_as(entry, caught.value)
    assert SagaExecution.objects.count() == before


@pytest.mark.parametrize("entry", STARTED, ids=by_title)
def test_a_bad_start_is_refused(entry, settings):
    kwargs = entry["input"]["kwargs"]
    if "running" in entry["input"]:
        settings.HUB = settings.HUB.model_copy(update={"saga_max_active": 0})
    if kwargs.get("execution_id") == "$completed":
        kwargs = {**kwargs, "execution_id": completed()}
    before = (SagaExecution.objects.count(), SagaTransition.objects.count())

    with pytest.raises(IntegrationError) as caught:
        TASKS[entry["input"]["task"]](**kwargs)

    assert_refused_as(entry, caught.value)
    assert (SagaExecution.objects.count(), SagaTransition.objects.count()) == before


def test_who_asks_again_for_a_run_that_is_there_gets_it_though_no_new_one_is_taken(settings):
    first = services.start("three_steps", {}, idempotency_key="order-7")
    settings.HUB = settings.HUB.model_copy(update={"saga_max_active": 0})

    assert services.start("three_steps", {}, idempotency_key="order-7")["execution_id"] == first["execution_id"]
    with pytest.raises(IntegrationError, match=r"^E11424: "):
        services.start("three_steps", {"other": 1}, idempotency_key="order-7")
    for key in ("order-8", None):
        with pytest.raises(IntegrationError, match=r"^E11462: "):
            services.start("three_steps", {}, idempotency_key=key)
    assert SagaExecution.objects.count() == 1


def assert_refused_as(entry, error):
    assert {"code": error.code, "http": error.code.http, "retry": error.code.retry} == entry["expect"]
    assert len(str(error)) < 500


def completed():
    """Return a run that an operator has ended: it takes no cancel any more."""
    row, _ = accept.accept(catalog.find("careful"), accept.Request(context={"app": "x"}))
    SagaExecution.objects.filter(pk=row.pk).update(status="completed")
    return str(row.pk)


def test_every_entry_is_tested():
    assert len(DEFINED) + len(STARTED) == len(ENTRIES) == 21


@pytest.mark.parametrize("price", [5, 5.5])
def test_a_whole_number_is_a_float_as_it_is_in_json(price):
    assert services.start("priced", {"price": price})["status"] == "pending"


@pytest.mark.parametrize("price", [True, "5", None])
def test_what_is_no_number_is_no_float(price):
    with pytest.raises(IntegrationError, match=r"^E11411: saga 'priced' needs 'price' as float"):
        services.start("priced", {"price": price})


def test_a_careful_saga_starts_when_everything_is_given():
    found = services.start("careful", {"app": "x"}, idempotency_key="s-1")

    assert found["status"] == "pending"
    assert services.start("careful", {"app": "x"}, idempotency_key="s-1") == found


@pytest.mark.parametrize("context", [{}, {"app": None}, {"app": True}])
def test_a_field_of_the_context_must_be_there_and_of_its_type(context):
    with pytest.raises(IntegrationError, match=r"^E11411: saga 'careful' needs 'app' as str"):
        services.start("careful", context, idempotency_key="s-1")


def test_a_reason_stands_for_a_compensation_in_a_strict_saga():
    step = SagaStep(step_id="look", service_name="L02", endpoint="GET /x", no_compensation="it only looks")

    assert SagaDefinition.create("looks", [step], strict=True).strict


def test_a_list_by_a_status_that_there_is_not_is_refused_and_not_empty():
    with pytest.raises(IntegrationError, match=r"^E11902: no status 'zz'"):
        services.executions(status="zz")

    assert services.executions(status="completed") == []
