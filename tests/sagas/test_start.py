"""Starting a saga: bad input is refused before anything is written, and one key gives one run."""

from __future__ import annotations

import threading
from dataclasses import replace
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from hub.celery import app
from hub.errors import IntegrationError
from sagas import catalog, services, tasks
from sagas.accept import Request, accept
from sagas.models import SagaExecution, SagaVersion

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def depth_65():
    value = {}
    for _ in range(65):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("kwargs", "code"),
    [
        ({"saga_name": "no_such_saga"}, "E11420"),
        ({"saga_name": 7}, "E11902"),
        ({"saga_name": "three_steps", "version": "99"}, "E11421"),
        ({"saga_name": "three_steps", "context": [1]}, "E11902"),
        ({"saga_name": "three_steps", "context": {"a": float("nan")}}, "E11905"),
        ({"saga_name": "three_steps", "context": {"a": "\x00"}}, "E11905"),
        ({"saga_name": "three_steps", "context": {"a": "x" * 300_000}}, "E11461"),
        ({"saga_name": "three_steps", "timeout_sec": 0}, "E11414"),
        ({"saga_name": "three_steps", "timeout_sec": -1}, "E11414"),
        ({"saga_name": "three_steps", "timeout_sec": True}, "E11414"),
        ({"saga_name": "three_steps", "timeout_sec": "soon"}, "E11414"),
        ({"saga_name": "three_steps", "timeout_sec": float("nan")}, "E11414"),
        ({"saga_name": "three_steps", "idempotency_key": ""}, "E11306"),
        ({"saga_name": "three_steps", "idempotency_key": "a\nb"}, "E11306"),
        ({"saga_name": "three_steps", "idempotency_key": "k" * 129}, "E11306"),
    ],
)
def test_bad_input_gets_its_code_and_writes_nothing(kwargs, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        services.start(**kwargs)

    assert not SagaExecution.objects.exists()


def test_a_long_version_is_not_repeated_whole():
    with pytest.raises(IntegrationError) as refused:
        services.start("three_steps", {}, version="9" * 70_000)

    assert len(str(refused.value)) < 500


def test_context_nested_too_deep_is_refused(depth_65):
    with pytest.raises(IntegrationError, match=r"^E11906: "):
        services.start("three_steps", depth_65)

    assert not SagaExecution.objects.exists()


@pytest.mark.parametrize(
    ("execution_id", "code"), [("1' OR '1'='1", "E11908"), ("", "E11908"), ("00000000-0000-0000-0000-000000000000", "E11423")]
)
@pytest.mark.parametrize("ask", [services.status, services.cancel])
def test_an_execution_that_is_not_there_is_said_so(ask, execution_id, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        ask(execution_id)


def test_the_same_key_gives_the_same_run():
    first = services.start("three_steps", {"a": 1}, idempotency_key="order-1")
    again = services.start("three_steps", {"a": 1}, idempotency_key="order-1")

    assert again["execution_id"] == first["execution_id"]
    assert SagaExecution.objects.count() == 1


def test_the_same_key_with_another_context_is_refused():
    services.start("three_steps", {"a": 1}, idempotency_key="order-1")

    with pytest.raises(IntegrationError, match=r"^E11424: "):
        services.start("three_steps", {"a": 2}, idempotency_key="order-1")


def test_ten_callers_at_once_with_one_key_start_one_run():
    answers = []

    def call():
        try:
            answers.append(services.start("three_steps", {"a": 1}, idempotency_key="order-1")["execution_id"])
        finally:
            connections.close_all()

    callers = [threading.Thread(target=call) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(answers) == 10
    assert len(set(answers)) == 1
    assert SagaExecution.objects.count() == 1


@pytest.mark.parametrize(
    ("kwargs", "code"),
    [({}, "E11901"), ({"saga_name": "three_steps", "contxt": {}}, "E11903"), ({"saga_name": "no_such_saga"}, "E11420")],
)
def test_a_layer_that_sends_a_wrong_start_reads_the_code_in_the_failure(worker, kwargs, code):
    result = app.send_task("hub.sagas.start", kwargs=kwargs, queue="hub")

    with pytest.raises(IntegrationError, match=f"^{code}: "):
        result.get(timeout=20)

    assert not SagaExecution.objects.exists()


def test_a_message_that_comes_twice_starts_one_run():
    kwargs = {"saga_name": "three_steps", "context": {"plan": {}}}

    first, copy, other = (tasks.start.apply(kwargs=kwargs, task_id=name).get()["execution_id"] for name in ("m-1", "m-1", "m-2"))

    assert first == copy
    assert first != other


@pytest.mark.parametrize("meanwhile", [{"retired": True}, {"input_types": {"order": int}}])
def test_a_message_that_comes_twice_finds_its_run_whatever_is_asked_of_new_ones(monkeypatch, meanwhile):
    kwargs = {"saga_name": "three_steps", "context": {"plan": {}}}
    first = tasks.start.apply(kwargs=kwargs, task_id="m-1").get()["execution_id"]
    stricter = replace(catalog.definition_of(catalog.find("three_steps", None)), **meanwhile)
    monkeypatch.setattr(catalog, "definition_of", lambda spec: stricter)

    assert tasks.start.apply(kwargs=kwargs, task_id="m-1").get()["execution_id"] == first
    with pytest.raises(IntegrationError):
        tasks.start.apply(kwargs=kwargs, task_id="m-2").get()


@pytest.fixture
def pruned_just_before():
    """Let the snapshot of a version be pruned between the look for it and the insert of the run that needs it."""
    pruned = []

    def prune(execute, sql, params, many, context):
        if not pruned and sql.startswith('INSERT INTO "sagas_sagaexecution"'):
            pruned.append(True)
            SagaVersion.objects.all().delete()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(prune):
        yield pruned


def test_a_run_is_stored_although_its_version_was_pruned_just_before(pruned_just_before):
    execution_id = services.start("three_steps", {})["execution_id"]

    assert pruned_just_before
    assert SagaExecution.objects.get().pk == UUID(execution_id)


def test_a_process_that_has_started_a_saga_before_notices_that_its_version_was_pruned():
    services.start("three_steps", {})
    SagaExecution.objects.all().delete()
    SagaVersion.objects.all().delete()

    again = services.start("three_steps", {})

    assert SagaExecution.objects.get(pk=again["execution_id"]).definition.saga_name == "three_steps"


def test_a_version_that_was_rolled_back_is_taken_for_no_other():
    with transaction.atomic():
        accept(catalog.find("picky"), Request(context={}))
        transaction.set_rollback(True)

    # On SQLite the next row gets the number that was rolled back.
    for name in ("no_undo", "picky"):
        run = services.start(name, {})
        assert SagaExecution.objects.get(pk=run["execution_id"]).definition.saga_name == name


@pytest.mark.parametrize(("given", "code"), [({"timeout_sec": "60"}, "E11414"), ({"correlation_id": 42}, "E11107")])
def test_what_is_of_another_type_is_refused_before_anything_is_asked(given, code):
    for name in ("three_steps", "checked"):
        with pytest.raises(IntegrationError) as refused:
            services.start(name, {}, **given)
        assert refused.value.code == code


@pytest.mark.parametrize("reason", ["a\x00b", "caf\udce9"])
def test_a_reason_that_no_database_keeps_is_refused(reason):
    execution_id = services.start("three_steps", {})["execution_id"]

    for say in (services.cancel, services.retry, services.compensate):
        with pytest.raises(IntegrationError) as refused:
            say(execution_id, reason=reason)
        assert refused.value.code == "E11905"


def test_the_shell_starts_a_saga_once_for_a_key(capsys):
    for _ in range(2):
        call_command("saga", "start", "three_steps", "--context", '{"app": "shop"}', "--key", "deploy-42")

    run = SagaExecution.objects.get()
    assert (run.saga_name, run.input, run.idempotency_key) == ("three_steps", {"app": "shop"}, "deploy-42")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [str(run.pk)] * 2


def test_the_shell_names_the_sagas_there_are():
    with pytest.raises(CommandError, match=r"^E11420: no saga 'tree_steps' is defined here \(known: .*three_steps"):
        call_command("saga", "start", "tree_steps")
