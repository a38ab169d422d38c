"""Sagas whose every effect is in the target's ledger: as functions, as HTTP calls, as tasks of a layer, and mixed."""

from __future__ import annotations

from typing import Any

import hub
from hub import SagaDefinition, SagaStep
from tests.chaos import caller

SERVICE, QUEUE = "chaos-target", "chaos-layer"
NAMES = ("a", "b", "c", "d", "e")
OPTIONS: dict[str, Any] = {"timeout_sec": 3, "max_retries": 4, "retry_delay_sec": 0.2, "retry_max_delay_sec": 1}


def act(context: dict[str, Any]) -> dict[str, Any]:
    return _call(context, undo=False)


def undo(context: dict[str, Any]) -> None:
    _call(context, undo=True)


def _call(context: dict[str, Any], *, undo: bool) -> dict[str, Any]:
    try:
        return caller.call(context, undo=undo, timeout_sec=context.get("patience_sec", caller.TIMEOUT_SEC))
    except caller.Refused as exc:
        raise hub.Refused(str(exc)) from exc
    except caller.OutcomeUnknown as exc:
        raise hub.OutcomeUnknown(str(exc)) from exc


def function(name: str, **other: Any) -> SagaStep:
    return SagaStep(**{"step_id": name, "action": act, "compensation": undo, **OPTIONS, **other})


def http(name: str, **other: Any) -> SagaStep:
    address = {"service_name": SERVICE, "endpoint": f"POST /{name}/do", "compensation_endpoint": f"POST /{name}/undo"}
    return SagaStep(step_id=name, **{**address, **OPTIONS, **other})


def task(name: str, **other: Any) -> SagaStep:
    names = {"task": "chaos.act", "compensation_task": "chaos.undo", "queue": QUEUE}
    return SagaStep(step_id=name, **{**names, **OPTIONS, **other})


chaos_functions = SagaDefinition.create("chaos_functions", [function(name) for name in NAMES])
chaos_patient = SagaDefinition.create("chaos_patient", [function("a", timeout_sec=200)])
chaos_patient_http = SagaDefinition.create("chaos_patient_http", [http("a", timeout_sec=200)])
chaos_http = SagaDefinition.create("chaos_http", [http(name) for name in NAMES])
chaos_tasks = SagaDefinition.create("chaos_tasks", [task(name) for name in NAMES])
chaos_mixed = SagaDefinition.create("chaos_mixed", [function("a"), http("b"), task("c"), http("d"), function("e")])
chaos_typo = SagaDefinition.create("chaos_typo", [function("a"), task("b", task="chaos.no_such_task"), function("c")])
