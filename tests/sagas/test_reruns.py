"""A run that is begun again: what it stands on is left alone, by operators, by the hub and by parents."""

from __future__ import annotations

from functools import partial

import pytest

from hub.errors import ErrorCode, IntegrationError
from sagas import services
from sagas.models import SagaExecution
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.driven import at_one_time, children_of, drive, look, started, turn

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]


@pytest.mark.parametrize("verb", [services.retry, services.compensate, lambda run, **why: services.skip(run, "b", **why)])
def test_what_a_rerun_stands_on_is_left_alone(verb):
    execution_id = started("no_undo", {"plan": {"b": "fail"}})
    assert drive(execution_id)["status"] == "failed"
    new = services.rerun(execution_id, "b", reason="smaller image", changes={"plan": {}})["execution_id"]

    with pytest.raises(IntegrationError, match=f"^E11425: saga {execution_id} was run again as {new}"):
        verb(execution_id, reason="clean up")

    assert drive(new)["status"] == "completed"
    assert "a.undo" not in ledger.effects(execution_id)
    assert services.resolve(execution_id, "completed", reason="see the other one")["status"] == "completed"


def test_of_two_operators_at_one_time_one_runs_again_or_one_undoes():
    for _ in range(10):
        execution_id = started("no_undo", {"plan": {"b": "fail"}})
        drive(execution_id)
        verbs = (partial(services.rerun, from_step="b"), services.compensate)

        refused = at_one_time(*(partial(verb, execution_id, reason="put right") for verb in verbs))

        assert [exc.code for exc in refused] == [ErrorCode.TRANSITION_ILLEGAL]
        was_undone = services.status(execution_id)["status"] != "failed"
        assert was_undone is not SagaExecution.objects.filter(rerun_of=execution_id).exists()


def test_of_two_operators_at_one_time_one_runs_again():
    execution_id = started("no_undo", {"plan": {"b": "fail"}})
    drive(execution_id)
    again = partial(services.rerun, execution_id, "b", reason="put right", changes={"plan": {}})

    refused = at_one_time(again, again)

    new = SagaExecution.objects.get(rerun_of=execution_id)
    assert [exc.code for exc in refused] == [ErrorCode.TRANSITION_ILLEGAL]
    assert f"was run again as {new.pk}, which has not ended" in refused[0].message
    assert drive(str(new.pk))["status"] == "completed"
    again()


def test_a_rerun_that_begins_with_a_wait_waits_at_once():
    execution_id = started("hears_late")
    drive(execution_id)
    wait_until(lambda: look(execution_id) or services.status(execution_id)["status"] == "failed", timeout_sec=5, what="its end")

    new = services.rerun(execution_id, "hear", reason="the signal comes now")["execution_id"]

    assert services.status(new)["status"] == "waiting"


def failed_with_its_child():
    """A run whose child failed and undid nothing, and that child."""
    execution_id = started("outer_kept", {"plan": {"y": "fail"}})
    turn(execution_id)
    (child,) = children_of(execution_id)
    drive(child), look(execution_id)
    assert [services.status(run)["status"] for run in (execution_id, child)] == ["failed", "failed"]
    return execution_id, child


@pytest.mark.parametrize("operate", [services.retry, services.compensate])
def test_a_child_that_was_run_again_is_neither_sent_on_nor_undone_with_its_parent(operate):
    execution_id, child = failed_with_its_child()
    drive(services.rerun(child, "y", reason="by itself", changes={"plan": {}})["execution_id"])

    operate(execution_id, reason="see what comes")
    drive(execution_id), drive(child), look(execution_id)

    assert ledger.effects(child) == ["x.do", "y.do"]
    assert services.status(child)["status"] == "failed"
    assert "was run again as" in str(services.status(execution_id)["steps"][0])
