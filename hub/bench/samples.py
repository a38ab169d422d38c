"""The sagas of the bench: five steps that do nothing, each with an undo that does nothing."""

from __future__ import annotations

from typing import Any

from sagas.definitions import SagaDefinition, SagaStep

STEPS = 5


def nothing(context: dict[str, Any]) -> dict[str, Any]:
    """Do nothing."""
    return {}


def _five(name: str, **options: Any) -> SagaDefinition:
    steps = [SagaStep(step_id=f"s{number}", step_name=f"Step {number}", action=nothing, compensation=nothing) for number in range(STEPS)]
    return SagaDefinition.create(name, steps, **options)


bench_five = _five("bench_five")
bench_five_inline = _five("bench_five_inline", inline=True)
