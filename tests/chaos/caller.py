"""How a step that is plain code calls the target: with the keys that the hub gave it, and nothing else of the hub."""

from __future__ import annotations

from typing import Any

import requests


class Refused(Exception):
    """The target said no."""


class OutcomeUnknown(Exception):
    """The target did not say."""


TIMEOUT_SEC = 2.0


def call(context: dict[str, Any], *, undo: bool, timeout_sec: float = TIMEOUT_SEC) -> dict[str, Any]:
    """Ask the target to act or to undo."""
    about = context["_saga"]
    headers = {
        "Idempotency-Key": about["idempotency_key"],
        "X-Hub-Saga": about["execution_id"],
        "X-Hub-Step": about["step_id"],
        "X-Hub-Kind": "compensation" if undo else "action",
        "X-Hub-Attempt": str(about["attempt"]),
    }
    try:
        answer = requests.post(
            f"{context['target']}/{about['step_id']}/{'undo' if undo else 'do'}",
            json={"context": context},
            headers=headers,
            timeout=timeout_sec,
        )
    except requests.RequestException as exc:
        raise OutcomeUnknown(str(exc)) from exc
    if answer.status_code in (409, 422):
        raise Refused(f"{about['step_id']}: {answer.status_code}")
    if answer.status_code >= 500:
        raise OutcomeUnknown(f"{about['step_id']}: {answer.status_code}")
    return {f"{about['step_id']}_done": about["attempt"]}
