"""The arms, by name: each takes the stage and returns what it measured in one round."""

from __future__ import annotations

from collections.abc import Callable

from hub.bench.arms import breaker, events, growth, memory, messages, pools, records, registry, requests, sagas, telemetry
from hub.bench.figures import Sample
from hub.bench.stage import Stage

Arm = Callable[[Stage], Sample]
_MODULES = (sagas, requests, breaker, registry, records, messages, events, growth, telemetry, memory, pools)
ARMS: dict[str, Arm] = {name: arm for module in _MODULES for name, arm in module.ARMS.items()}
