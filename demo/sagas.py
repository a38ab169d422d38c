"""The demo's sagas: one application over all layers, by every kind of step. The second one fails at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings

from hub import SagaDefinition, SagaStep


def write_release_note(context: dict[str, Any]) -> dict[str, Any]:
    """Write down what is about to be deployed."""
    note = _note_of(context)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"app": context["app"], "version": context["version"]}))
    return {"release_note": note.name}


def remove_release_note(context: dict[str, Any]) -> None:
    """Take the note back; harmless when it was never written."""
    _note_of(context).unlink(missing_ok=True)


def _note_of(context: dict[str, Any]) -> Path:
    notes: Path = settings.HUB.var_dir / "demo" / "releases"
    return notes / f"{context['app']}.json"


STEPS = (
    SagaStep(
        step_id="note",
        step_name="Write the release note",
        action=write_release_note,
        compensation=remove_release_note,
    ),
    SagaStep(
        step_id="model",
        step_name="Reserve model capacity",
        service_name="L04_model_gateway",
        endpoint="POST /reservations",
        compensation_endpoint="POST /reservations/release",
    ),
    SagaStep(
        step_id="tools",
        step_name="Reserve tools",
        task="l03.reserve_tools",
        compensation_task="l03.release_tools",
        queue="l03",
    ),
    SagaStep(
        step_id="deploy",
        step_name="Deploy on the runtime",
        service_name="L02_runtime",
        endpoint="POST /deploy",
        compensation_endpoint="POST /undeploy",
    ),
    SagaStep(
        step_id="plan",
        step_name="Plan the agents",
        service_name="L05_planning",
        endpoint="POST /plans",
        compensation_endpoint="POST /plans/drop",
    ),
)

deploy_application = SagaDefinition.create("deploy_application", STEPS, timeout_sec=60)

# The planner refuses to activate a plan of more agents than there are, after all other layers did their part.
deploy_application_broken = SagaDefinition.create(
    "deploy_application_broken",
    [*STEPS, SagaStep(step_id="activate", step_name="Activate the plan", service_name="L05_planning", endpoint="POST /plans/activate")],
    timeout_sec=60,
)
