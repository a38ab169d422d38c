"""The hub's worker on each of Celery's pools: sagas, routed requests, and routed requests that wait for a slow service."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.bench import measure
from hub.bench.arms import requests, sagas
from hub.bench.figures import Sample
from hub.bench.stage import POOLS, Stage

SAGAS, SLOW_MS, SLOW_REQUESTS = 100, 20, 200


def _sagas() -> int:
    return sagas.run_sagas("bench_five", SAGAS)


def _routed() -> int:
    return requests.outstanding(requests.send, requests.REQUESTS)


def _slow() -> int:
    return requests.outstanding(lambda: requests.send(f"/sleep/{SLOW_MS}"), SLOW_REQUESTS)


def on(pool: str, work: Callable[[], int]) -> Callable[[Stage], Sample]:
    """Return the arm that does the work on one pool."""

    def arm(stage: Stage) -> Sample:
        requests.prepare(stage, pool=pool)
        sagas.run_sagas("bench_five", 10)
        return measure.rate(stage, work)

    return arm


# A pool's arms stand beside each other in the alphabet, and so in a round: the worker is changed once per pool.
ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    f"{pool}: {what}": on(pool, work)
    for pool in POOLS
    for what, work in (("sagas", _sagas), ("routed", _routed), ("routed, slow service", _slow))
}
