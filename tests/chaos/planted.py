"""Sagas of an imagined shop: some are right, two have a bug that only a kill shows, some never come to their end."""

from __future__ import annotations

from typing import Any

from hub import Refused, SagaDefinition, SagaStep
from hub.testing import act, act_once


def call_keyed(context: dict[str, Any]) -> dict[str, Any]:
    if not act_once(context):
        raise Refused("this was undone already")
    return {}


def call_keyless(context: dict[str, Any]) -> dict[str, Any]:
    act(context)
    return {}


def undo_keyed(context: dict[str, Any]) -> None:
    act_once(context)


def undo_twice_if_asked_twice(context: dict[str, Any]) -> None:
    act(context)


def raise_always(context: dict[str, Any]) -> dict[str, Any]:
    raise ValueError("no such shelf")


_OPTIONS: dict[str, Any] = {"timeout_sec": 2, "max_retries": 2, "retry_delay_sec": 0.1}


def _step(name: str, **other: Any) -> SagaStep:
    return SagaStep(**{"step_id": name, "action": call_keyed, "compensation": undo_keyed, **_OPTIONS, **other})


right = SagaDefinition.create("shop_right", [_step("reserve"), _step("charge"), _step("ship")])
with_a_pivot = SagaDefinition.create(
    "shop_pivot",
    [_step("reserve"), _step("charge", kind="pivot", compensation=None), _step("ship", kind="retriable", compensation=None)],
)
undo_not_idempotent = SagaDefinition.create(
    "shop_undo", [_step("reserve", compensation=undo_twice_if_asked_twice), _step("charge"), _step("ship")]
)
no_key = SagaDefinition.create("shop_no_key", [_step("reserve"), _step("charge", action=call_keyless), _step("ship")])
waiting = SagaDefinition.create(
    "shop_waiting",
    [
        _step("reserve"),
        SagaStep(step_id="approve", wait_for="signal:approved", timeout_sec=30),
        SagaStep(step_id="pay", wait_for="event:shop.paid", timeout_sec=30),
        _step("ship"),
    ],
)
waiting_long = SagaDefinition.create(
    "shop_waiting_long", [_step("reserve"), SagaStep(step_id="approve", wait_for="signal:approved", timeout_sec=600)]
)
waiting_in_vain = SagaDefinition.create(
    "shop_waiting_in_vain", [_step("reserve"), SagaStep(step_id="approve", wait_for="signal:approved", timeout_sec=1)]
)
never_past_its_second = SagaDefinition.create("shop_broken", [_step("reserve"), _step("charge", action=raise_always), _step("ship")])
no_service = SagaDefinition.create(
    "shop_no_service", [_step("reserve"), SagaStep(step_id="pay", service_name="shop-payments", endpoint="POST /pay", **_OPTIONS)]
)
