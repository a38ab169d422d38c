"""The arms, by name: each takes the stage and returns what it measured in one round."""

from __future__ import annotations

from collections.abc import Callable

from hub.bench.arms import breaker, events, growth, memory, messages, pools, records, registry, requests, sagas
from hub.bench.figures import Sample
from hub.bench.stage import Stage

Arm = Callable[[Stage], Sample]
ARMS: dict[str, Arm] = {
    name: arm
    for module in (sagas, requests, breaker, registry, records, messages, events, growth, memory, pools)
    for name, arm in module.ARMS.items()
}
