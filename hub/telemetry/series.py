"""What a process gathered between two flushes: increments, gauges and observations per label set (pure)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.telemetry.buckets import bounds_for, bucket_of

OTHER = "other"
MAX_LOCAL_SERIES = 2_000
"""Of one metric between two flushes."""


def labels_key(labels: Mapping[str, str]) -> str:
    """Return the one text that stands for a label set, whatever the order of its names."""
    return json.dumps(dict(sorted(labels.items())), separators=(",", ":"))


def folded_key(labels: Mapping[str, str]) -> str:
    """Return the label set into which those beyond the limit of series are counted."""
    return labels_key(dict.fromkeys(labels, OTHER))


@dataclass(slots=True)
class Sample:
    """What happened to one series since the last flush."""

    name: str
    kind: str
    labels: str
    folded: str
    value: float = 0.0
    count: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    exemplars: dict[int, str] = field(default_factory=dict)
    """Per bucket the trace id of the last observation that had one."""

    def to_dict(self) -> dict[str, Any]:
        """Return the sample as the storing script reads it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "labels": self.labels,
            "folded": self.folded,
            # A subclass of int or float, such as an IntEnum or a number of numpy's, writes itself in words of its own.
            "value": repr(float(self.value)),
            "count": self.count,
            "buckets": {str(index): count for index, count in self.buckets.items()},
            "exemplars": {str(index): text for index, text in self.exemplars.items()},
        }


class Batch:
    """Samples by series; not thread-safe, its owner holds a lock."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str, str], Sample] = {}
        self._series: Counter[str] = Counter()

    def increment(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        self._sample(name, "counter", labels).value += value

    def set_gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Replace a gauge's value."""
        self._sample(name, "gauge", labels).value = value

    def observe(self, name: str, value: float, labels: Mapping[str, str], *, exemplar: str | None = None) -> None:
        """Count an observation in its bucket."""
        sample = self._sample(name, "histogram", labels)
        bucket = bucket_of(value, bounds_for(name))
        sample.value += value
        sample.count += 1
        sample.buckets[bucket] = sample.buckets.get(bucket, 0) + 1
        if exemplar:
            sample.exemplars[bucket] = exemplar

    def samples(self) -> list[dict[str, Any]]:
        """Return all samples as plain values."""
        return [sample.to_dict() for sample in self._samples.values()]

    def _sample(self, name: str, kind: str, labels: Mapping[str, str]) -> Sample:
        key = (name, kind, labels_key(labels))
        found = self._samples.get(key)
        if found is None:
            # A flood of label values must not fill the memory of the process, nor cost another metric its series.
            own = key[2] if self._series[name] < MAX_LOCAL_SERIES else folded_key(labels)
            key = (name, kind, own)
            self._series[name] += key not in self._samples
            found = self._samples.setdefault(key, Sample(name=name, kind=kind, labels=own, folded=folded_key(labels)))
        return found
