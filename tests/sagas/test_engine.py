"""Sagas on real workers: what the rows say is what the effects' own book says."""

from __future__ import annotations

import pytest

from sagas import clock, services, store
from sagas.events import Succeeded
from sagas.models import SagaTransition
from sagas.states import FINAL
from tests.processes import wait_until
from tests.sagas import ledger

pytestmark = pytest.mark.django_db(transaction=True)


def status_of(execution_id):
    return services.status(execution_id)["status"]


def ended(execution_id, timeout_sec=20):
    def look():
        found = services.status(execution_id)
        return found if found["status"] in {status.value for status in FINAL} else None

    return wait_until(look, timeout_sec=timeout_sec, what=f"end of saga {execution_id}")


def run(saga, timeout_sec=20, **plan):
    execution_id = services.start(saga, {"plan": {name.replace("_undo", ".undo"): order for name, order in plan.items()}})["execution_id"]
    return ended(execution_id, timeout_sec)


def statuses(found):
    return {step["step_id"]: step["status"] for step in found["steps"]}


def test_a_saga_runs_its_steps_in_order_and_keeps_their_outputs(worker, sweeper):
    found = run("three_steps")

    assert found["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "c.do"]
    assert found["context"] == {"plan": {}, "a_done": 1, "b_done": 1, "c_done": 1}


def test_a_refusal_turns_back_at_once_and_undoes_in_reverse(worker, sweeper):
    found = run("three_steps", c="refuse")

    assert (found["status"], found["cause"]) == ("compensated", "refused")
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "c.do", "b.undo", "a.undo"]
    assert statuses(found) == {"a": "compensated", "b": "compensated", "c": "failed"}
    assert found["error"]["code"] == "E11432"
    assert found["error"]["step_id"] == "c"


def test_a_failing_step_is_retried_and_then_undone_from_the_one_before(worker, sweeper):
    found = run("three_steps", b="fail")

    assert (found["status"], found["cause"]) == ("compensated", "step_failed")
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.do", "a.undo"]


def test_one_failure_is_healed_by_a_retry_under_the_same_key(worker, sweeper):
    found = run("three_steps", b="fail once")

    assert found["status"] == "completed"
    assert found["context"]["b_done"] == 2
    keys = {line["key"] for line in ledger.read(found["execution_id"]) if line["step"] == "b"}
    assert keys == {f"saga:{found['execution_id']}:b:do"}


def test_a_step_that_may_have_happened_is_undone_too(worker, sweeper):
    found = run("three_steps", b="unknown")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.do", "b.undo", "a.undo"]
    assert statuses(found)["b"] == "compensated"


def test_a_failing_undo_stops_no_other_and_is_not_called_compensated(worker, sweeper):
    found = run("patient", b_undo="fail", c="refuse")

    assert (found["status"], found["cause"]) == ("needs_operator", "refused")
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "c.do", "b.undo", "b.undo", "a.undo"]
    assert statuses(found) == {"a": "compensated", "b": "compensation_failed", "c": "failed"}
    assert found["error"]["code"] == "E11432"
    assert found["steps"][1]["undo_error"]["kind"] == "ValueError"


def test_an_undo_that_has_only_returned_a_generator_was_not_done(worker, sweeper):
    found = run("lazy", b="fail")

    assert (found["status"], statuses(found)["a"]) == ("needs_operator", "compensation_failed")
    assert "generator" in found["steps"][0]["undo_error"]["message"]


def test_a_hanging_async_step_is_given_up_at_its_limit(worker, sweeper):
    found = run("async_steps", b="hang")

    assert found["status"] == "compensated"
    assert found["error"]["code"] == "E11441"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.undo", "a.undo"]


def test_the_deadline_holds_while_a_step_hangs(worker, sweeper):
    found = run("hurried", b="hang")

    assert (found["status"], found["cause"]) == ("compensated", "timeout")
    assert found["error"]["code"] == "E11445"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.undo", "a.undo"]


def test_a_step_that_is_not_required_is_skipped(worker, sweeper):
    found = run("optional_b", b="fail")

    assert found["status"] == "completed"
    assert statuses(found) == {"a": "completed", "b": "skipped", "c": "completed"}


def test_a_skipped_step_that_may_have_happened_is_undone_when_the_saga_turns_back(worker, sweeper):
    found = run("optional_b", b="unknown", c="refuse")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "c.do", "b.undo", "a.undo"]


def test_without_auto_compensate_nothing_is_undone_and_the_saga_is_failed(worker, sweeper):
    found = run("no_undo", b="fail")

    assert (found["status"], found["cause"]) == ("failed", "step_failed")
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do"]


def test_errors_named_as_not_retryable_are_not_retried(worker, sweeper):
    found = run("picky", b="fail")

    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "a.undo"]


def test_cancel_lets_the_running_step_end_and_starts_no_other(worker, sweeper):
    execution_id = services.start("three_steps", {"plan": {"b": "slow"}})["execution_id"]
    wait_until(lambda: "b.do" in ledger.effects(execution_id), what="step b to run")

    services.cancel(execution_id, reason="changed our minds")

    found = ended(execution_id)
    assert (found["status"], found["cause"]) == ("compensated", "cancelled")
    assert ledger.effects(execution_id) == ["a.do", "b.do", "b.undo", "a.undo"]


def test_a_step_whose_process_dies_is_tried_again_under_the_same_key(worker, sweeper):
    found = run("three_steps", b="die once", timeout_sec=40)

    assert found["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do", "b.do", "b.do", "c.do"]


def test_the_same_definition_runs_twice_without_memory(worker, sweeper):
    first = run("three_steps", c="refuse")
    second = run("three_steps", a="refuse")

    assert ledger.effects(second["execution_id"]) == ["a.do"]
    assert (first["status"], second["status"]) == ("compensated", "compensated")


def test_a_late_reply_is_kept_in_the_history_and_changes_nothing(worker, sweeper):
    found = run("three_steps")
    before = store.load(found["execution_id"]).run

    applied = store.dispatch(found["execution_id"], Succeeded(step=1, epoch=1, now=clock.now(), output={"late": True}))

    assert applied.ignored == "late reply"
    assert store.load(found["execution_id"]).run == before
    assert SagaTransition.objects.filter(execution=found["execution_id"], step_id="b", reason="late reply").count() == 1


def test_twenty_duplicates_run_once(worker, sweeper):
    from hub.celery import app

    execution_id = services.start("three_steps", {})["execution_id"]
    for _ in range(20):
        app.send_task("hub.sagas.step", kwargs={"execution_id": execution_id, "index": 0, "direction": "do"}, queue="hub.sagas")

    assert ended(execution_id)["status"] == "completed"
    assert ledger.effects(execution_id) == ["a.do", "b.do", "c.do"]
    assert store.load(execution_id).run.steps[0].attempts == 1


def test_a_reason_that_no_database_keeps_as_it_is_is_kept_as_it_can_be(worker):
    found = run("three_steps", b="mumble")

    assert (found["status"], found["error"]["code"]) == ("compensated", "E11432")
    assert "no file caf" in found["error"]["message"]
    assert len([line for line in ledger.read(found["execution_id"]) if line["kind"] == "do"]) == 2
