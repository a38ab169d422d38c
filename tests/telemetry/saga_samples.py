"""A saga with a step of each kind that leaves its process, which is refused at its end."""

from __future__ import annotations

import logging
from typing import Any

from hub import EventMessage, Refused, SagaDefinition, SagaStep
from hub.events import bus

log = logging.getLogger("hub.tests")
SERVICE, QUEUE, TOPIC = "tree-target", "tree-layer", "tree.announced"
OPTIONS: dict[str, Any] = {"timeout_sec": 20, "retry_delay_sec": 0.1}


def announce(context: dict[str, Any]) -> dict[str, Any]:
    bus.publish(EventMessage.create(TOPIC, "announced", {"app": context.get("app", "")}))
    return {"announced": True}


def take_back(context: dict[str, Any]) -> None:
    bus.publish(EventMessage.create(TOPIC, "taken-back", {}))


def refuse(context: dict[str, Any]) -> None:
    raise Refused("not today")


traced = SagaDefinition.create(
    "traced",
    [
        SagaStep(step_id="announce", action=announce, compensation=take_back, **OPTIONS),
        SagaStep(step_id="tools", task="tree.reserve", compensation_task="tree.release", queue=QUEUE, **OPTIONS),
        SagaStep(
            step_id="charge", service_name=SERVICE, endpoint="POST /charge", compensation_endpoint="POST /refund", max_retries=2, **OPTIONS
        ),
        SagaStep(step_id="last", action=refuse, **OPTIONS),
    ],
    timeout_sec=90,
)


def succeed(context: dict[str, Any]) -> dict[str, Any]:
    return {"done": True}


def refuse_if_asked(context: dict[str, Any]) -> dict[str, Any]:
    if context.get("refuse"):
        raise Refused("as asked")
    return {"accepted": True}


COUNTED: dict[str, Any] = {"timeout_sec": 10, "max_retries": 5, "retry_delay_sec": 0.2, "retry_max_delay_sec": 1}
counted = SagaDefinition.create(
    "counted",
    [
        SagaStep(step_id="first", action=succeed, compensation=succeed, **COUNTED),
        SagaStep(step_id="call", service_name=SERVICE, endpoint="POST /do", compensation_endpoint="POST /undo", **COUNTED),
        SagaStep(step_id="last", action=refuse_if_asked, **COUNTED),
    ],
    timeout_sec=300,
)


def log_in(context: dict[str, Any]) -> dict[str, Any]:
    """Tell a secret to the log, return another, and fail with a third where the context says so."""
    secrets = context["said"]
    log.warning("logged in with password=%s", secrets["password"], extra={"api_key": secrets["api_key"]})
    return {"session_token": secrets["session_token"], "text": f"Bearer {secrets['bearer_token']}"}


def fail_with_secret(context: dict[str, Any]) -> None:
    raise ValueError(f"could not log in: password={context['said']['password']}")


canaries = SagaDefinition.create(
    "canaries",
    [
        SagaStep(step_id="log-in", action=log_in, compensation=succeed, **OPTIONS),
        SagaStep(step_id="ask", wait_for="signal:approved", timeout_sec=60),
        SagaStep(step_id="tools", task="tree.keep", compensation_task="tree.keep", queue=QUEUE, **OPTIONS),
        SagaStep(step_id="charge", service_name=SERVICE, endpoint="POST /secret", compensation_endpoint="POST /undo", **OPTIONS),
        SagaStep(step_id="fail", action=fail_with_secret, max_retries=0, **{**OPTIONS}),
    ],
    timeout_sec=120,
)
