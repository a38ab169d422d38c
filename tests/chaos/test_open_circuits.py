"""A saga whose target must not be called waits for it, and loses nothing by that."""

from __future__ import annotations

import pytest

from hub.circuits import breaker, fleet
from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.routing.models import RoutedRequest
from registry_app import services as registry
from registry_app.values import ServiceInfo
from tests.chaos.saga_samples import NAMES, SERVICE
from tests.processes import wait_until

FORCED_SEC = 4.0


@pytest.fixture
def force_open(brisk, settings):
    """Hold the target's breaker open for a while, as an operator would."""
    settings.REDIS_URL = brisk.redis_url
    fleet.forget()
    registry.register(ServiceInfo.create(SERVICE, "1.0", brisk.target_url))
    yield lambda: circuits.force(SERVICE, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=FORCED_SEC)
    circuits.reset(SERVICE, by="anna")
    fleet.forget()


def test_a_step_whose_target_is_forced_open_waits_for_its_end_and_costs_no_attempt(brisk, force_open):
    force_open()
    execution_id = brisk.start("chaos_http")

    def was_held():
        # A machine that is busy may take longer than the force lasts.
        return RoutedRequest.objects.filter(code="E11223").exists() or not force_open()

    wait_until(was_held, timeout_sec=40, what="the step held by the breaker")
    reached, still_forced = brisk.at_target(execution_id), breaker.look(SERVICE).state is CircuitState.FORCED_OPEN
    assert reached == [] or not still_forced

    found = brisk.ended(execution_id)
    assert found["status"] == "completed"
    assert [step["attempts"] for step in found["steps"]] == [1] * len(NAMES)
    assert brisk.effects(execution_id) == [f"{name}.do" for name in NAMES]
