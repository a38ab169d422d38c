"""The sweeper: several at once do what one does."""

from __future__ import annotations

import pytest

from sagas import accept, catalog, clock, recovery
from sagas.models import SagaExecution

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def due(no_worker):
    """A run of which no message was ever sent."""
    row, _ = accept.accept(catalog.find("three_steps"), accept.Request())
    SagaExecution.objects.filter(pk=row.pk).update(next_wake_at=clock.moment(clock.now() - 1))
    return str(row.pk)


def test_a_run_that_another_sweeper_has_seen_to_is_left_alone(due):
    assert recovery.wake(due)

    assert not recovery.wake(due)

    assert SagaExecution.objects.get(pk=due).hints == 1


def test_a_sweep_sends_what_nobody_picked_up_and_does_not_look_at_it_again_at_once(due):
    first, second = recovery.sweep(), recovery.sweep()

    assert (first.looked_at, first.sent) == (1, 1)
    assert second.looked_at == 0


def test_a_slow_sweep_leaves_the_rest_to_the_next(due, settings):
    settings.HUB = settings.HUB.model_copy(update={"saga_sweep_sec": -1.0})

    assert recovery.sweep().looked_at == 0
