"""Megabytes of a worker with its children (or threads) after little work and after much, each from a fresh worker.

The figure is the median of looks during the last `few` units: while prefork replaces a child, old and new are both there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from hub.bench import memory, sizes
from hub.bench.arms import requests, sagas
from hub.bench.figures import Sample
from hub.bench.sizes import Sizes
from hub.bench.stage import Stage

SLICE = 100

Work = Callable[[int], object]


def after(units: Callable[[Sizes], int], work: Work) -> Callable[[Stage], Sample]:
    """Return the arm that does that many units, at most fifty of them under way at once."""

    def arm(stage: Stage) -> Sample:
        stage.end("worker")
        requests.prepare(stage)
        asked = sizes.asked()
        return _watched(stage, work, units=units(asked), last=asked.few)

    return arm


def _watched(stage: Stage, work: Work, *, units: int, last: int) -> Sample:
    looks, done = [], 0
    while done < units:
        work(SLICE)
        done += SLICE
        if done > units - last:
            looks.append(memory.of_tree_mb(stage.processes["worker"].pid))
    return Sample(figure=median(looks), units=done)


def _route(number: int) -> None:
    requests.outstanding(requests.send, number)


def _run(number: int) -> None:
    sagas.run_sagas("bench_five", number)


ARMS: Mapping[str, Callable[[Stage], Sample]] = {
    "worker MB after few requests": after(lambda asked: asked.few, _route),
    "worker MB after many requests": after(lambda asked: asked.many_requests, _route),
    "worker MB after few sagas": after(lambda asked: asked.few, _run),
    "worker MB after many sagas": after(lambda asked: asked.many_sagas, _run),
}
