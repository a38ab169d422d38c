"""What an operator may do to a breaker: a manual state with an end, its thresholds, and a new beginning."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from hub.circuits import breaker, history, services
from hub.circuits.config import CONFIG_FIELDS
from hub.circuits.policy import MANUAL, CircuitState
from hub.circuits.snapshots import CircuitSnapshot
from hub.console.acting.shape import Action, Field, Given, Subject

_MINUTES = Field(
    name="minutes",
    label="For how many minutes",
    kind="number",
    initial=f"{services.DEFAULT_FORCE_SEC / 60:g}",
    low=1,
    high=services.MAX_FORCE_SEC / 60,
)


def standing(service_name: str) -> dict[str, Any]:
    """Return how a breaker stands, for the record."""
    seen = breaker.look(service_name)
    found = {"state": str(seen.state), "failures": seen.failure_count, "overrides": seen.overrides}
    return found | ({"by": seen.manual_by, "why": seen.manual_why} if seen.state in MANUAL else {})


def _force(given: Given, mode: CircuitState) -> str:
    services.force(given.subject_id, mode, by=given.by, why=given.reason, for_sec=given.values["minutes"] * 60)
    history.record_transitions()
    return f"{given.subject_id} is {_words(mode)} for {given.values['minutes']:g} minutes"


def _reset(given: Given) -> str:
    seen = services.reset(given.subject_id, by=given.by, why=given.reason)
    history.record_transitions()
    return f"{given.subject_id} is {_words(seen.state)}"


def _configure(given: Given) -> str:
    seen = services.configure(given.subject_id, {name: given.values[name] for name in CONFIG_FIELDS if name in given.values})
    return "all values are the defaults" if not seen.overrides else ", ".join(f"{name} {value}" for name, value in seen.overrides.items())


def _words(state: CircuitState) -> str:
    return str(state).replace("_", " ")


def _threshold_fields(seen: CircuitSnapshot) -> list[Field]:
    """Offer each value of the policy; an empty one means the default of HUB_CIRCUIT_*."""
    return [
        Field(
            name=name,
            label=f"{name.replace('_', ' ')} (empty: the default)",
            kind="number",
            initial=str(seen.overrides.get(name, "")),
            high=1e9,
            required=False,
        )
        for name in CONFIG_FIELDS
    ]


def _manual(name: str, label: str, permission: str, mode: CircuitState, explains: str) -> Action:
    return Action(
        name=name,
        label=label,
        permission=permission,
        explains=f"{explains} For the whole fleet, and it ends by itself.",
        call=lambda given: _force(given, mode),
        is_offered=lambda seen: seen.state is not mode,
        fields=lambda seen: [_MINUTES],
    )


CIRCUIT = Subject(
    name="circuit",
    view_permission="circuits.view_circuitsetting",
    find=breaker.look,
    id_of=lambda seen: seen.service_name,
    look=standing,
    page=lambda service_name: reverse("console:circuit", args=[service_name]),
    actions=(
        _manual("force-open", "Force open", "force_circuit_open", CircuitState.FORCED_OPEN, "Refuses every call to the service."),
        _manual("force-closed", "Force closed", "force_circuit_closed", CircuitState.FORCED_CLOSED, "Lets every call through."),
        _manual(
            "metrics-only",
            "Metrics only",
            "meter_circuit",
            CircuitState.METRICS_ONLY,
            "Lets every call through and writes down what the rules would have done.",
        ),
        Action(
            name="reset",
            label="Reset",
            permission="reset_circuit",
            explains="Closes the breaker, forgets what it counted, and takes a manual state off.",
            call=_reset,
        ),
        Action(
            name="thresholds",
            label="Set thresholds",
            permission="set_circuit_thresholds",
            explains="Replaces the values that you change, by which this breaker opens and closes, in the whole fleet."
            " Try them first: see Thresholds below.",
            call=_configure,
            fields=_threshold_fields,
        ),
    ),
)
