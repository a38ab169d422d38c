"""The way between a worker and the target: requests and answers get lost, doubled and delayed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from tests.sagas.simulated.target import Request, Target
from tests.sagas.simulated.world import World


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: ``ok``, ``held``, or an outcome of the machine."""

    outcome: str


def reach(world: World, target: Target, request: Request, *, limit_sec: float) -> Generator[float, None, Ended]:
    """Send a request and wait for its answer, at most `limit_sec`."""
    if world.strikes("not connected"):
        return Ended("failed")
    if world.strikes("request lost"):
        yield limit_sec
        return Ended("unknown")
    if world.strikes("request late"):
        world.at(world.now + world.random.uniform(0.5, 40), lambda: target.deliver(request))
        yield limit_sec
        return Ended("unknown")
    yield world.random.uniform(0, 0.5)
    if world.strikes("unavailable"):
        target.reject(request)
        return Ended("unknown")
    answer = target.receive(request)
    if world.strikes("request doubled"):
        target.deliver(request)
    if world.strikes("answer lost"):
        yield limit_sec
        return Ended("unknown")
    yield 0
    return Ended(answer)
