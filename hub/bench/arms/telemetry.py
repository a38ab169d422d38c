"""What traces and metrics cost: the same work in one process with them and in one without."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.bench import elsewhere
from hub.bench.arms import requests
from hub.bench.figures import Sample
from hub.bench.stage import Stage


def doing(what: str, *, enabled: bool) -> Callable[[Stage], Sample]:
    """Return the arm of a routed request or a step of a saga, without a queue in between, in milliseconds."""

    def arm(stage: Stage) -> Sample:
        requests.prepare(stage)
        return elsewhere.sample("hub.bench.telemetry", what, env={"HUB_TELEMETRY_ENABLED": str(enabled)})

    return arm


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    f"{what}, {name}": doing(what, enabled=enabled)
    for what in ("request", "step")
    for name, enabled in (("traced and counted", True), ("without telemetry", False))
}
