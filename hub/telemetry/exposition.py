"""Metrics in the words of OpenMetrics, built from what the whole fleet counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from prometheus_client import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Exemplar

from hub.errors import ErrorCode
from hub.telemetry import families, metric_store
from hub.telemetry.buckets import bounds_for
from hub.telemetry.metric_store import Series

log = logging.getLogger(__name__)

Source = Callable[[], Iterable[Family]]
_sources: list[Source] = []
_expected: list[tuple[str, dict[str, str]]] = []


def add_source(source: Source) -> None:
    """Have a room say, whenever metrics are read, how things stand then."""
    _sources.append(source)


def expect(counter: str, **labels: str) -> None:
    """Have a counter told as 0 until somebody counts it: Prometheus sees no increase in one that begins with what was lost."""
    _expected.append((counter, labels))


class Fleet:
    """What Prometheus' encoders read: every metric of the fleet, with its series."""

    def collect(self) -> Iterator[Family]:
        """Yield what was counted, as far as it can stand beside each other, and then what the sources say."""
        kinds = {name: "counter" for name, _ in _expected} | metric_store.types()
        helps, said = metric_store.descriptions(), [one for source in _sources for one in source()]
        kinds.pop("_total", None)  # from before it was refused: no family has an empty name
        fitting = families.that_fit(kinds, taken=[one.name for one in said])
        series = metric_store.read(fitting)
        for name in fitting:
            yield family(name, kinds[name], helps.get(name, ""), [*series[name], *_uncounted(name, series[name])])
        for name in kinds.keys() - series.keys():
            _say_left_out(name)
        yield from said


def _uncounted(name: str, counted: Iterable[Series]) -> list[Series]:
    known = [one.labels for one in counted]
    return [Series(labels=labels) for counter, labels in _expected if counter == name and labels not in known]


@lru_cache(maxsize=1_000)
def _say_left_out(metric: str) -> None:
    """Say once in this process that a metric is not shown, because another one has its name."""
    log.warning("a metric clashes with another and is not shown", extra={"code": str(ErrorCode.METRIC_TYPE_CONFLICT), "metric": metric})


def render(accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that `accept` asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(Fleet()), content_type


def family(name: str, kind: str, description: str, series: Iterable[Series]) -> Family:
    """Return one metric with all its series."""
    base = families.base_of(name, kind)  # the encoder asks for a counter's ending on the samples
    found = Family(base, description or name, kind)
    for one in series:
        if kind == "histogram":
            _add_histogram(found, name, one)
        else:
            found.add_sample(f"{base}_total" if kind == "counter" else name, one.labels, one.value)
    return found


def _add_histogram(found: Family, name: str, one: Series) -> None:
    below = 0
    for index, bound in enumerate([*bounds_for(name), float("inf")]):
        below += one.buckets.get(index, 0)
        labels = {**one.labels, "le": "+Inf" if bound == float("inf") else str(float(bound))}
        trace_id = one.exemplars.get(index)
        # The exact value is not kept: the bound is the least that is true of what fell into the bucket below it.
        exemplar = Exemplar({"trace_id": trace_id}, float(bound)) if trace_id and bound != float("inf") else None
        found.add_sample(f"{name}_bucket", labels, below, exemplar=exemplar)
    if one.value >= 0:  # OpenMetrics knows no sum below 0, and no count without a sum: that is in the last bucket, too
        found.add_sample(f"{name}_count", one.labels, one.count)
        found.add_sample(f"{name}_sum", one.labels, one.value)
