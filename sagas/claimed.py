"""A step that this process has claimed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sagas import clock, spans
from sagas.calls import Ended
from sagas.states import Direction
from sagas.store import Applied


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A claimed step: whoever holds the epoch may run it and say how it ended."""

    execution_id: str
    index: int
    direction: Direction
    epoch: int
    applied: Applied
    ends_at: float
    """When the call must be over: what the machine granted, cut at the saga's deadline."""

    @property
    def limit_sec(self) -> float:
        """Return the seconds the call may still take."""
        return max(0.001, self.ends_at - clock.now())

    def span(self) -> AbstractContextManager[Callable[[Ended], None]]:
        """Trace the attempt as part of its saga's trace; call what it yields with how it ended."""
        return spans.of_attempt(self.applied, index=self.index, direction=self.direction, epoch=self.epoch)

    @property
    def lease_until(self) -> float:
        return self.applied.run.steps[self.index].lease_until or 0.0

    def is_given_up(self) -> bool:
        """Tell whether the lease has ended, so that somebody else may act by now."""
        return clock.now() >= self.lease_until
