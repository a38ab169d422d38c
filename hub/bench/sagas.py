"""A saga of ten steps that do nothing: what is measured is the hub."""

from __future__ import annotations

from typing import Any

from hub import SagaDefinition, SagaStep


def nothing(context: dict[str, Any]) -> dict[str, Any]:
    return {}


bench_steps = SagaDefinition.create("bench_steps", [SagaStep(step_id=f"s{n}", action=nothing, compensation=nothing) for n in range(10)])
