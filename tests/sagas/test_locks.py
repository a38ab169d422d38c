"""Runs on one entity, one at a time, on real workers."""

from __future__ import annotations

import pytest

from hub.errors import IntegrationError
from sagas import locks, services
from sagas.models import SagaExecution, SagaLock
from tests.processes import wait_until
from tests.sagas import ledger
from tests.sagas.test_engine import ended

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_runs_on_one_entity_run_one_after_the_other(worker, sweeper, tmp_path):
    go = tmp_path / "go"
    first = services.start("one_at_a_time", {"id": 7, "plan": {"b": f"until {go}"}})["execution_id"]
    wait_until(lambda: SagaLock.objects.filter(name="order:7", execution=first).exists(), what="the lock")
    second = services.start("one_at_a_time", {"id": 7})["execution_id"]
    wait_until(lambda: services.status(second)["blocked"], what="the second run to say that it waits")

    assert f"'order:7' is held by saga {first}" in services.status(second)["blocked"]
    go.touch()
    assert ended(first)["status"] == ended(second)["status"] == "completed"

    lines = [line for line in ledger.path().read_text().splitlines() if first in line or second in line]
    assert ["1" if first in line else "2" for line in lines] == ["1", "1", "2", "2"]
    assert not SagaLock.objects.exists()


def test_runs_on_other_entities_do_not_wait(worker, sweeper, tmp_path):
    go = tmp_path / "go"
    first = services.start("one_at_a_time", {"id": 7, "plan": {"a": f"until {go}"}})["execution_id"]
    second = services.start("one_at_a_time", {"id": 8})["execution_id"]

    assert ended(second)["status"] == "completed"

    assert services.status(first)["status"] == "running"
    go.touch()
    assert ended(first)["status"] == "completed"


def test_a_refusing_saga_says_who_holds_the_entity_and_writes_nothing(worker, sweeper, tmp_path):
    go = tmp_path / "go"
    first = services.start("refusing", {"id": 7, "plan": {"a": f"until {go}"}})["execution_id"]

    with pytest.raises(IntegrationError, match=rf"^E11434: 'order:7' is held by saga {first}"):
        services.start("refusing", {"id": 7})

    assert SagaExecution.objects.count() == 1
    go.touch()
    ended(first)
    services.start("refusing", {"id": 7})


def test_a_run_that_begins_with_a_wait_takes_its_locks_too(worker, sweeper):
    ids = [services.start("locked_after_a_wait", {"id": 7, "plan": {"b": "slow"}})["execution_id"] for _ in range(2)]

    for execution_id in ids:
        ended(execution_id, 40)

    order = [line for line in ledger.path().read_text().splitlines() if any(one in line for one in ids)]
    runs = [ids.index(next(one for one in ids if one in line)) for line in order]
    assert runs in ([0, 0, 1, 1], [1, 1, 0, 0])
    assert not SagaLock.objects.exists()


@pytest.mark.parametrize("name", ["one_at_a_time", "refusing"])
def test_locks_that_came_too_late_for_their_run_hold_up_no_other(worker, sweeper, name):
    first = services.start(name, {"id": 7, "plan": {"a": "refuse"}})["execution_id"]
    assert ended(first)["status"] == "compensated"
    locks.insert(SagaExecution.objects.get(pk=first))  # as by a process that loaded the run before it ended

    assert ended(services.start(name, {"id": 7})["execution_id"])["status"] == "completed"
    assert not SagaLock.objects.exists()


def test_a_lock_whose_field_is_missing_is_refused(worker):
    with pytest.raises(IntegrationError, match=r"^E11412: "):
        services.start("one_at_a_time", {})

    assert not SagaExecution.objects.exists()
