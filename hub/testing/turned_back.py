"""A saga as it is, made to turn back after its last step, or before its pivot."""

from __future__ import annotations

import importlib
from typing import Any

from hub.errors import Refused
from sagas.definitions import SagaDefinition, SagaStep

SUFFIX = ".turned_back"
REFUSAL = "refused_by_the_test"


def refuse(context: dict[str, Any]) -> None:
    """Say no, so that every step before is undone."""
    raise Refused("turned back by the test")


def load(reference: str) -> SagaDefinition:
    """Return the definition that ``package.module:name`` names."""
    module, _, name = reference.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, SagaDefinition):
        raise TypeError(f"{reference} is a {type(found).__name__}, not a SagaDefinition")
    return found


def turned_back(saga: SagaDefinition) -> SagaDefinition:
    """Return the saga with a last step that refuses: all of its own steps happen, and all are undone.

    From its pivot on a saga only goes forward: there the refusal stands in the pivot's place.
    """
    pivot = next((index for index, step in enumerate(saga.steps) if step.kind == "pivot"), len(saga.steps))
    steps = [*saga.steps[:pivot], SagaStep(step_id=REFUSAL, action=refuse)]
    return SagaDefinition.create(f"{saga.saga_name}{SUFFIX}", steps, timeout_sec=saga.timeout_sec)
