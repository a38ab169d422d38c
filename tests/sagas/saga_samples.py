"""Sagas that the test workers know. What each step does is asked of the context: ``{"plan": {"b": "refuse"}}``."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from hub import OutcomeUnknown, Refused, SagaDefinition, SagaStep
from hub.events import bus
from hub.events.messages import EventMessage
from hub.events.models import Delivery
from tests.processes import wait_until
from tests.sagas import ledger


def _note(context: dict[str, Any], kind: str) -> str:
    about = context["_saga"]
    ledger.write(saga=about["execution_id"], step=about["step_id"], kind=kind, key=about["idempotency_key"], attempt=about["attempt"])
    return str(context.get("plan", {}).get(about["step_id"] if kind == "do" else f"{about['step_id']}.undo", "ok"))


def act(context: dict[str, Any]) -> dict[str, Any]:
    order, about = _note(context, "do"), context["_saga"]
    _obey(_in_turn(order, about["execution_id"]), about["attempt"])
    said = {f"{about['step_id']}_text": "t" * 150_000} if order == "talk" else {}
    return {f"{about['step_id']}_done": about["attempt"], **said}


def _in_turn(order: str, execution_id: str) -> str:
    """Let ``after b: refuse`` wait until step b has begun, and return what is to be done then."""
    first, _, then = order.rpartition(": ")
    if first:
        effect = f"{first.removeprefix('after ')}.do"
        wait_until(lambda: effect in ledger.effects(execution_id), timeout_sec=4, what=f"{effect} begun")
    return then


async def act_async(context: dict[str, Any]) -> dict[str, Any]:
    order, about = _note(context, "do"), context["_saga"]
    await asyncio.sleep(30 if order == "hang" else 0)
    _obey(order, about["attempt"])
    return {f"{about['step_id']}_done": about["attempt"]}


def say(context: dict[str, Any]) -> None:
    """Publish what the next step waits for, and end only when everybody durable has been told."""
    topic = "sample.said"
    event_id = bus.publish(EventMessage.create(topic, "said", {"by": context["_saga"]["execution_id"]}))
    deliveries = Delivery.objects.filter(event__event_id=event_id)
    wait_until(lambda: deliveries.filter(status="delivered").exists(), timeout_sec=20, what=f"{topic} delivered")


def undo(context: dict[str, Any]) -> None:
    order = _note(context, "undo")
    _obey(order, context["_saga"]["attempt"])


def _obey(order: str, attempt: int) -> None:
    if order == "refuse":
        raise Refused("not today")
    if order == "mumble":
        raise Refused("no file caf\udce9\x00.txt")
    if order == "fail" or (order == "fail once" and attempt == 1):
        raise ValueError("broken")
    if order == "unknown" or (order == "unknown once" and attempt == 1):
        raise OutcomeUnknown("no answer")
    if order == "hang":
        time.sleep(30)
    if order == "slow":
        time.sleep(1.0)
    if order.startswith("until "):
        wait_until(Path(order.removeprefix("until ")).exists, timeout_sec=20, what=order)
    if order == "die" or (order == "die once" and attempt == 1):
        os.kill(os.getpid(), signal.SIGKILL)


def steps(*names: str, **options: Any) -> list[SagaStep]:
    given = {"action": act, "compensation": undo, "timeout_sec": 5, "max_retries": 1, "retry_delay_sec": 0.1, **options}
    return [SagaStep(step_id=name, step_name=f"Step {name}", **given) for name in names]


def undo_later(context: dict[str, Any]) -> Any:
    return (undo(context) for _ in range(1))


three_steps = SagaDefinition.create("three_steps", steps("a", "b", "c"), timeout_sec=60)
five_steps = SagaDefinition.create("five_steps", steps("a", "b", "c", "d", "e"), timeout_sec=120)
patient = SagaDefinition.create("patient", steps("a", "b", "c", compensation_max_retries=1), timeout_sec=60)
lazy = SagaDefinition.create("lazy", [*steps("a", compensation=undo_later), *steps("b", max_retries=0)], timeout_sec=60)
async_steps = SagaDefinition.create("async_steps", steps("a", "b", action=act_async, timeout_sec=1, max_retries=0), timeout_sec=60)
hurried = SagaDefinition.create("hurried", steps("a", "b", timeout_sec=20), timeout_sec=2)
optional_b = SagaDefinition.create(
    "optional_b", [*steps("a"), *steps("b", required=False, max_retries=0), *steps("c", max_retries=0)], timeout_sec=60
)
no_undo = SagaDefinition.create("no_undo", steps("a", "b", max_retries=0), timeout_sec=60, auto_compensate=False)
picky = SagaDefinition.create("picky", steps("a", "b", max_retries=5, non_retryable=("ValueError",)), timeout_sec=60)
fan = SagaDefinition.create(
    "fan",
    [*steps("a"), *steps("b", "c", "d", parallel_group="middle", max_retries=0), *steps("e", max_retries=0)],
    timeout_sec=60,
)
with_pivot = SagaDefinition.create(
    "with_pivot",
    [
        *steps("a", max_retries=0),
        *steps("pay", kind="pivot", compensation=None),
        *steps("ship", kind="retriable", compensation=None, max_retries=2),
    ],
    timeout_sec=60,
)


def did_it_happen(context: dict[str, Any]) -> str:
    ledger.write(saga=context["_saga"]["execution_id"], step=context["_saga"]["step_id"], kind="verify", key="", attempt=0)
    return str(context["plan"].get("truth", "unknown"))


def book(context: dict[str, Any]) -> dict[str, Any]:
    _note(context, f"book room {context.get('room')}")
    _obey(str(context["plan"].get("book")), context["_saga"]["attempt"])
    return {"booked": True}


def unbook(context: dict[str, Any]) -> None:
    _note(context, f"unbook room {context.get('room')}")


def choose_room(context: dict[str, Any]) -> dict[str, Any]:
    return {"room": 7}


booking = SagaDefinition.create(
    "booking",
    [
        SagaStep(step_id="book", action=book, compensation=unbook, max_retries=1, parallel_group="g"),
        SagaStep(step_id="choose", action=choose_room, parallel_group="g"),
        *steps("c", max_retries=0),
    ],
    timeout_sec=60,
)
approval = SagaDefinition.create(
    "approval",
    [*steps("a"), SagaStep(step_id="ask", wait_for="signal:approved", timeout_sec=30), *steps("b", max_retries=0)],
    timeout_sec=60,
)
impatient = SagaDefinition.create("impatient", [*steps("a"), SagaStep(step_id="ask", wait_for="signal:approved", timeout_sec=0.5)])
timer_first = SagaDefinition.create("timer_first", [SagaStep(step_id="pause", wait_for="timer:0.5"), *steps("a")])
locked_after_a_wait = SagaDefinition.create(
    "locked_after_a_wait", [SagaStep(step_id="pause", wait_for="timer:0.2"), *steps("b", "c")], timeout_sec=60, locks=["order:{id}"]
)
on_event = SagaDefinition.create("on_event", [*steps("a"), SagaStep(step_id="hear", wait_for="event:agent.created"), *steps("b")])
hears_itself = SagaDefinition.create(
    "hears_itself",
    [SagaStep(step_id="say", action=say, compensation=undo), SagaStep(step_id="hear", wait_for="event:sample.said", timeout_sec=60)],
)
hears_late = SagaDefinition.create(
    "hears_late", [*steps("a"), SagaStep(step_id="hear", wait_for="signal:go", timeout_sec=0.05)], auto_compensate=False
)
inner = SagaDefinition.create("inner", steps("x", "y", max_retries=0), timeout_sec=60)
outer = SagaDefinition.create(
    "outer", [*steps("a"), SagaStep(step_id="child", saga="inner", timeout_sec=40), *steps("b", max_retries=0)], timeout_sec=60
)
beside_a_child = SagaDefinition.create(
    "beside_a_child",
    [SagaStep(step_id="child", saga="inner", timeout_sec=40, parallel_group="g"), *steps("b", parallel_group="g", max_retries=0)],
    timeout_sec=60,
    auto_compensate=False,
)


room_beside_a_child = SagaDefinition.create(
    "room_beside_a_child",
    [SagaStep(step_id="room", action=choose_room, parallel_group="g"), SagaStep(step_id="child", saga="inner", parallel_group="g")],
    timeout_sec=60,
)
inner_kept = SagaDefinition.create("inner_kept", steps("x", "y", max_retries=0), timeout_sec=60, auto_compensate=False)
outer_kept = SagaDefinition.create(
    "outer_kept", [SagaStep(step_id="child", saga="inner_kept", timeout_sec=40), *steps("b")], timeout_sec=60, auto_compensate=False
)
issuing = SagaDefinition.create("issuing", [SagaStep(step_id="issue_token", saga="inner", timeout_sec=40)], timeout_sec=60)
verified = SagaDefinition.create("verified", [*steps("a"), *steps("b", verify=did_it_happen)], timeout_sec=60)
verified_task = SagaDefinition.create(
    "verified_task",
    [SagaStep(step_id="pay", task="tools.reserve", compensation_task="tools.release", queue="tools", verify=did_it_happen)],
    timeout_sec=60,
)
one_at_a_time = SagaDefinition.create("one_at_a_time", steps("a", "b", timeout_sec=30), timeout_sec=60, locks=["order:{id}"])
kept_locked = SagaDefinition.create(
    "kept_locked", steps("a", "b", max_retries=0), timeout_sec=60, auto_compensate=False, locks=["order:{id}"]
)
locked_child = SagaDefinition.create("locked_child", steps("x", "y", max_retries=0), timeout_sec=60, locks=["order:{id}"])
_locked_child = SagaStep(step_id="child", saga="locked_child", timeout_sec=40)
parent_of_locked = SagaDefinition.create("parent_of_locked", [*steps("a"), _locked_child, *steps("b", max_retries=0)], timeout_sec=60)
parent_with_the_lock = SagaDefinition.create("parent_with_the_lock", [*steps("a"), _locked_child], timeout_sec=60, locks=["order:{id}"])
refusing_child = SagaDefinition.create("refusing_child", steps("x", "y"), timeout_sec=60, locks=["order:{id}"], on_lock="refuse")
parent_of_refusing = SagaDefinition.create(
    "parent_of_refusing", [*steps("a"), SagaStep(step_id="child", saga="refusing_child", max_retries=0)], locks=["order:{id}"]
)
parent_of_refusing_alone = SagaDefinition.create(
    "parent_of_refusing_alone", [SagaStep(step_id="child", saga="refusing_child", max_retries=0)], timeout_sec=60
)
grandparent = SagaDefinition.create("grandparent", [SagaStep(step_id="family", saga="outer", timeout_sec=50)], timeout_sec=60)
undone_by_a_layer = SagaDefinition.create(
    "undone_by_a_layer",
    [
        *steps("a"),
        SagaStep(step_id="b", action=act, compensation_task="l99.release", queue="nobody"),
        SagaStep(step_id="ask", wait_for="signal:approved", timeout_sec=100),
    ],
    timeout_sec=200,
)
to_a_layer = SagaDefinition.create(
    "to_a_layer", [SagaStep(step_id="tools", task="l99.reserve", compensation_task="l99.release", queue="nobody")], timeout_sec=300
)
asks_beside_a_layer = SagaDefinition.create(
    "asks_beside_a_layer",
    [
        SagaStep(step_id="ask", wait_for="signal:approved", timeout_sec=100, parallel_group="g"),
        SagaStep(step_id="tools", task="l99.reserve", queue="nobody", no_compensation="it only looks", parallel_group="g"),
    ],
    timeout_sec=120,
)
delivered = SagaDefinition.create(
    "delivered",
    [
        *steps("a"),
        *steps("pay", kind="pivot", compensation=None),
        *steps("ship", kind="retriable", compensation=None, max_retries=0, parallel_group="g"),
        SagaStep(step_id="heard", wait_for="event:agent.created", timeout_sec=3600, kind="retriable", parallel_group="g"),
    ],
    timeout_sec=60,
)
refusing = SagaDefinition.create("refusing", steps("a", "b", timeout_sec=30), timeout_sec=60, locks=["order:{id}"], on_lock="refuse")
in_one_task = SagaDefinition.create("in_one_task", steps("a", "b", "c", "d", max_retries=0), timeout_sec=60, inline=True)
checked = SagaDefinition.create(
    "checked",
    [
        *steps("a"),
        SagaStep(step_id="tool", task="l03.unheard_of", queue="nobody"),
        SagaStep(step_id="call", service_name="L99", endpoint="GET /x"),
    ],
    preflight=True,
)
stormy = SagaDefinition.create("stormy", [*steps("a"), *steps("b", max_retries=0)], timeout_sec=120)
with_tools = SagaDefinition.create(
    "with_tools",
    [
        *steps("a"),
        SagaStep(step_id="tools", task="tools.reserve", compensation_task="tools.release", queue="tools", timeout_sec=10),
        *steps("b", max_retries=0),
    ],
    timeout_sec=300,
)
tools_first = SagaDefinition.create(
    "tools_first", [SagaStep(step_id="tools", task="tools.reserve", compensation_task="tools.release", queue="tools", timeout_sec=10)]
)
careful = SagaDefinition.create("careful", steps("a"), input_types={"app": str}, strict=True)
priced = SagaDefinition.create("priced", steps("a"), input_types={"price": float})
retired = SagaDefinition.create("retired", steps("a"), retired=True)
