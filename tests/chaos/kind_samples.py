"""One saga for each kind of step, every effect of which is in the target's ledger."""

from __future__ import annotations

from typing import Any

import requests

from hub import SagaDefinition, SagaStep
from tests.chaos.saga_samples import function, http, task

SIGNAL, TOPIC = "go", "chaos.happened"
WAIT_SEC = 60
ASK_SEC = 10


def ask_target(context: dict[str, Any]) -> str:
    """Ask the service itself whether the step's effect took place: an author's `verify`."""
    key = context["_saga"]["idempotency_key"]
    answer = requests.get(f"{context['target']}/applied", params={"key": key}, timeout=ASK_SEC)
    return {200: "happened", 404: "did_not"}.get(answer.status_code, "unknown")


def _wait(name: str, what: str) -> SagaStep:
    return SagaStep(step_id=name, wait_for=what, timeout_sec=WAIT_SEC)


chaos_timer = SagaDefinition.create("chaos_timer", [function("a"), _wait("pause", "timer:0.5"), function("c")])
chaos_pause = SagaDefinition.create("chaos_pause", [_wait("pause", "timer:0.1")])
chaos_signal = SagaDefinition.create("chaos_signal", [function("a"), _wait("ask", f"signal:{SIGNAL}"), function("c")])
chaos_event = SagaDefinition.create("chaos_event", [function("a"), _wait("hear", f"event:{TOPIC}"), function("c")])
chaos_child = SagaDefinition.create("chaos_child", [function("x"), function("y")])
chaos_parent = SagaDefinition.create(
    "chaos_parent", [function("a"), SagaStep(step_id="child", saga="chaos_child", timeout_sec=60), function("c")]
)
chaos_group = SagaDefinition.create(
    "chaos_group", [function("a"), *(function(name, parallel_group="side") for name in ("b", "c", "d")), function("e")]
)
chaos_layer = SagaDefinition.create("chaos_layer", [function("a"), task("b"), function("c")])
chaos_late = SagaDefinition.create("chaos_late", [function("a"), task("b", timeout_sec=1), function("c")])
chaos_pivot = SagaDefinition.create(
    "chaos_pivot",
    [function("a"), function("b", kind="pivot", compensation=None), function("c", kind="retriable", compensation=None)],
)
chaos_verify = SagaDefinition.create("chaos_verify", [function("a"), function("b", verify=ask_target), function("c")])
chaos_locks = SagaDefinition.create("chaos_locks", [function("a"), function("b")], locks=["order:{order}"])
chaos_inline = SagaDefinition.create("chaos_inline", [function("a"), function("b"), function("c")], inline=True)
_pay = function("pay", verify=ask_target, max_retries=2, timeout_sec=30)
chaos_money = SagaDefinition.create("chaos_money", [_pay, function("ship")], timeout_sec=300)
chaos_storm = SagaDefinition.create("chaos_storm", [http("a", compensation_timeout_sec=10), function("b")], timeout_sec=600)
