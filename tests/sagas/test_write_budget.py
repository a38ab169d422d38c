"""How many transactions a saga writes: counted, not timed, so a change that costs one more shows here and nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction

from sagas import catalog, engine, store
from sagas.accept import Request, accept
from sagas.states import Direction

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_worker")]
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH", "COPY", "REPLACE")


@dataclass
class Writes:
    """Committed transactions of this thread's connection that wrote something."""

    committed: int = 0

    def _commit(self) -> None:
        self.committed += 1

    def see(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        """Count a statement outside a transaction at once, those inside one when it commits, together."""
        done = execute(sql, params, many, context)
        if str(sql).lstrip().upper().startswith(WRITES):
            if not connection.in_atomic_block:
                self._commit()
            elif not any(told == self._commit for _, told, _ in connection.run_on_commit):
                transaction.on_commit(self._commit)
        return done


@contextmanager
def counted() -> Iterator[Writes]:
    writes = Writes()
    with connection.execute_wrapper(writes.see):
        yield writes


def run_here(saga: str, steps: int) -> uuid.UUID:
    row, _ = accept(catalog.find(saga), Request())
    for index in range(steps):
        engine.perform(str(row.pk), index, Direction.DO)
    return row.pk


@pytest.mark.parametrize(("saga", "steps"), [("three_steps", 3), ("five_steps", 5)])
def test_a_saga_writes_one_transaction_to_begin_and_two_a_step(saga, steps):
    run_here(saga, steps)  # a process writes a definition down when it first meets it

    with counted() as writes:
        execution_id = run_here(saga, steps)

    assert store.load(execution_id).run.status == "completed"
    assert writes.committed <= 1 + 2 * steps


def test_an_inline_saga_writes_one_transaction_a_step():
    run_here("in_one_task", 1)

    with counted() as writes:
        execution_id = run_here("in_one_task", 1)

    assert store.load(execution_id).run.status == "completed"
    assert writes.committed <= 4 + 2


def test_the_counter_takes_a_transaction_once_and_a_rollback_not_at_all():
    row, _ = accept(catalog.find("three_steps"), Request())

    with counted() as writes:
        type(row).objects.filter(pk=row.pk).update(hints=1)
        with transaction.atomic():
            type(row).objects.filter(pk=row.pk).update(hints=2)
            with transaction.atomic():
                type(row).objects.filter(pk=row.pk).update(hints=3)
        with transaction.atomic():
            type(row).objects.filter(pk=row.pk).update(hints=4)
            transaction.set_rollback(True)
        type(row).objects.get(pk=row.pk)

    assert writes.committed == 2
