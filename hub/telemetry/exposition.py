"""Metrics in the words of OpenMetrics, built from what the whole fleet counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Exemplar

from hub.telemetry import metric_store
from hub.telemetry.buckets import bounds_for
from hub.telemetry.metric_store import Series

Source = Callable[[], Iterable[Family]]
_sources: list[Source] = []


def add_source(families: Source) -> None:
    """Have a room say, whenever metrics are read, how things stand then."""
    _sources.append(families)


class Fleet:
    """What Prometheus' encoders read: every metric of the fleet, with its series."""

    def collect(self) -> Iterator[Family]:
        """Yield what was counted, by name, and then what the sources say."""
        kinds, helps = metric_store.types(), metric_store.descriptions()
        series = metric_store.read(kinds)
        for name, kind in kinds.items():
            if name == "_total":
                continue  # from before it was refused: no family has an empty name
            yield family(name, kind, helps.get(name, ""), series[name])
        for families in _sources:
            yield from families()


def render(accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that `accept` asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(Fleet()), content_type


def family(name: str, kind: str, description: str, series: Iterable[Series]) -> Family:
    """Return one metric with all its series."""
    # The name of a counter's family is without its ending; the encoder asks for it on the samples.
    base = name.removesuffix("_total") if kind == "counter" else name
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
    found.add_sample(f"{name}_count", one.labels, one.count)
    found.add_sample(f"{name}_sum", one.labels, one.value)
