"""A saga for each kind of step, how it is sent forward and back, and what it needs from outside while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hub.testing.matrix import Matrix, Plan, plans
from hub.testing.nudges import Nudges
from hub.testing.values import Scope
from tests.chaos.kind_samples import SIGNAL, TOPIC
from tests.chaos.stage import Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """`forward` and `back` say what the target does at which step; None: the saga is not killed in that direction."""

    saga: str
    forward: Mapping[str, str] | None = field(default_factory=dict)
    back: Mapping[str, str] | None = None


KINDS: Mapping[str, Kind] = {
    "timer": Kind(saga="chaos_timer", back={"c": "refuse"}),
    "signal": Kind(saga="chaos_signal", back={"c": "refuse"}),
    "event": Kind(saga="chaos_event", back={"c": "refuse"}),
    "child": Kind(saga="chaos_parent", back={"c": "refuse"}),
    "failing-child": Kind(saga="chaos_parent", forward={"y": "refuse"}, back={"y": "refuse"}),
    "group": Kind(saga="chaos_group", back={"e": "refuse"}),
    "failing-member": Kind(saga="chaos_group", forward=(_failing := {"b": "slow", "c": "late", "d": "slow"}), back=_failing),
    "layer": Kind(saga="chaos_layer", back={"c": "refuse"}),
    "late-reply": Kind(saga="chaos_late", forward={"b_layer": "sleep once"}),
    "pivot": Kind(saga="chaos_pivot", forward={"c": "busy once"}, back={"b": "refuse"}),
    "verify": Kind(saga="chaos_verify", forward={"b": "lost once"}, back={"b": "lost once", "c": "refuse"}),
    "locks": Kind(saga="chaos_locks", back={"b": "refuse"}),
    "inline": Kind(saga="chaos_inline", back={"c": "refuse"}),
}


def wanted(
    matrix: Matrix, scene: Stage, names: Sequence[str], scopes: Sequence[Scope], *, points: Mapping[str, tuple[str, ...]]
) -> Iterator[Plan]:
    """Return a kill for every passage of every step of these kinds, each direction of each saga.

    `points` limits a kind to points that begin so.
    """
    for name in names:
        found = [*_one_way(matrix, scene, KINDS[name].saga, "do", KINDS[name].forward, scopes)]
        found += _one_way(matrix, scene, KINDS[name].saga, "undo", KINDS[name].back, scopes)
        found = [plan for plan in found if plan.passage.point.startswith(points.get(name, ("",))) and _is_sure(name, plan)]
        # Two neighbours share an entity, so that one of them waits for the other's lock.
        yield from (replace(plan, context={**plan.context, "order": number // 2}) for number, plan in enumerate(found))


def _is_sure(name: str, plan: Plan) -> bool:
    """Tell whether a run surely passes there: a late reply comes by chance, except where the layer is killed for its time."""
    return name == "late-reply" or not plan.passage.point.startswith("note.")


def _one_way(
    matrix: Matrix, scene: Stage, saga: str, direction: str, orders: Mapping[str, str] | None, scopes: Sequence[Scope]
) -> list[Plan]:
    if orders is None:
        return []
    context = scene.context(**orders) | {"order": -1}
    return plans(saga, context, matrix.passages(saga, context), scopes=scopes, directions=[direction], everywhere=True)


def nudges() -> Nudges:
    """Return what the world does for runs that wait for it."""
    return Nudges(signals={SIGNAL: {"by": "ann"}}, events={TOPIC: {"by": "ann"}})


def undone_too_early(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what took effect after undoing had begun: a group is undone once, after all of its members have ended."""
    begun, late = False, []
    for line in lines:
        if line["ev"] == "recv" and line["kind"] == "comp":
            begun = True
        elif begun and line["ev"] == "apply" and line["kind"] == "action":
            late.append(line["step"])
    return late
