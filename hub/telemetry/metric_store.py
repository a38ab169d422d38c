"""Metrics in Redis: one hash per metric, added to by one script.

``hub:metrics``            hash: metric name -> type
``hub:metrics:help``       hash: metric name -> one line of description
``hub:metric:<name>``      hash: ``<labels>`` (value), and behind a line feed ``count``, a bucket's number, or ``x`` and it (exemplar)
``hub:metric:<name>:sets`` set of the label sets seen
``hub:metrics:sender:<id>`` number of the last batch of a process; expires
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from django.conf import settings
from redis.commands.core import Script

from hub.errors import ErrorCode, IntegrationError
from hub.json_values import storable
from hub.redis_client import client
from hub.telemetry import families

log = logging.getLogger(__name__)
TYPES, HELP = "hub:metrics", "hub:metrics:help"
FOLDED = "hub_metric_series_folded_total"
CONFLICTS = "hub_metric_type_conflicts_total"
REFUSED = "hub_metric_samples_refused_total"
"""Samples that were not taken: of a metric beyond `MAX_METRICS`, or whose key somebody else wrote."""
MAX_METRICS = 2_000
_SENDER = "hub:metrics:sender:"
SENDER_TTL_SEC = 86_400
"""So long a batch may wait whose answer was lost: Redis may be away for as long."""

# KEYS[1] sender; ARGV: number of the batch, limit of series, ttl of the sender, samples as JSON,
# limit of metrics.
_ADD = """
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local number = tonumber(ARGV[1])
if number <= last then return {} end
-- First: what a sample below it meets must not have those before it added again with the next try.
redis.call('SET', KEYS[1], number, 'EX', ARGV[3])
local limit = tonumber(ARGV[2])
local folded = {}

local function own_series(sets, sample)
  if redis.call('SISMEMBER', sets, sample.labels) == 1 then return sample.labels end
  if redis.call('SCARD', sets) < limit - 1 or sample.labels == sample.folded then
    redis.call('SADD', sets, sample.labels)
    return sample.labels
  end
  folded[#folded + 1] = sample.name .. ' ' .. sample.folded
  redis.call('SADD', sets, sample.folded)
  redis.call('HSETNX', 'hub:metrics', '%(folded)s', 'counter')
  local key = 'hub:metric:%(folded)s'
  local labels = cjson.encode({metric = sample.name})
  redis.call('SADD', key .. ':sets', labels)
  redis.call('HINCRBYFLOAT', key, labels, '1')
  return sample.folded
end

local function count(name)
  redis.call('HSETNX', 'hub:metrics', name, 'counter')
  redis.call('SADD', 'hub:metric:' .. name .. ':sets', '{}')
  redis.call('HINCRBYFLOAT', 'hub:metric:' .. name, '{}', '1')
end

local function add(sample)
  local is_new = redis.call('HEXISTS', 'hub:metrics', sample.name) == 0
  if is_new and redis.call('HLEN', 'hub:metrics') >= tonumber(ARGV[5]) then return count('%(refused)s') end
  redis.call('HSETNX', 'hub:metrics', sample.name, sample.kind)
  if redis.call('HGET', 'hub:metrics', sample.name) ~= sample.kind then return count('%(conflicts)s') end
  local key = 'hub:metric:' .. sample.name
  local series = own_series(key .. ':sets', sample)
  if sample.kind == 'gauge' then
    redis.call('HSET', key, series, sample.value)
    return
  end
  redis.call('HINCRBYFLOAT', key, series, sample.value)
  if sample.kind == 'counter' then return end
  redis.call('HINCRBY', key, series .. '\\ncount', sample.count)
  for bucket, count in pairs(sample.buckets) do
    redis.call('HINCRBY', key, series .. '\\n' .. bucket, count)
  end
  for bucket, text in pairs(sample.exemplars) do
    redis.call('HSET', key, series .. '\\nx' .. bucket, text)
  end
end

for _, sample in ipairs(cjson.decode(ARGV[4])) do
  if not pcall(add, sample) then count('%(refused)s') end
end
return folded
""" % {"folded": FOLDED, "conflicts": CONFLICTS, "refused": REFUSED}  # noqa: UP031  (braces are Lua's)


@dataclass(slots=True)
class Series:
    """The value of one label set; for a histogram also its count, buckets and exemplars (trace ids)."""

    labels: dict[str, str]
    value: float = 0.0
    count: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    exemplars: dict[int, str] = field(default_factory=dict)


@cache
def _add_script() -> Script:
    return client().register_script(_ADD)


def add(sender: str, number: int, samples: Iterable[dict[str, Any]]) -> None:
    """Add a sender's batch `number`; a number that was added before, within a day, changes nothing.

    A metric with more label sets than HUB_METRIC_MAX_SERIES counts the rest under ``other``, and a line of the log says so.
    """
    arguments: list[str | int] = [number, settings.HUB.metric_max_series, SENDER_TTL_SEC, json.dumps(list(samples)), MAX_METRICS]
    folded: list[str] = _add_script()(keys=[_SENDER + sender], args=arguments, client=client())
    for text in set(folded):
        _say_folded(*text.split(" ", 1))


def forget_soon(sender: str, *, after_sec: int) -> None:
    """Forget what a sender sent last, which has nothing more to send."""
    client().expire(_SENDER + sender, after_sec)


@lru_cache(maxsize=1_000)
def _say_folded(metric: str, labels: str) -> None:
    """Say once in this process that a metric has too many label sets."""
    extra = {"code": str(ErrorCode.TOO_MANY_SERIES), "metric": metric, "labels": sorted(json.loads(labels))}
    log.warning("label values of a metric are counted under 'other'", extra=extra)


def declare(name: str, kind: str, description: str = "") -> None:
    """Fix a metric's type for the fleet; E11521 when it or a name of its samples is another's, E11560 when there are too many metrics."""
    known = _known_type(name) or _first_type(name, kind)
    if known != kind:
        raise IntegrationError(
            ErrorCode.METRIC_TYPE_CONFLICT, f"metric {name} is a {known}, not a {kind}", recovery_suggestion="choose another name"
        )
    if description:
        client().hset(HELP, name, " ".join(description.split()))


def _known_type(name: str) -> str | None:
    """Return the type of a metric that was declared before, as nearly every one was: one round trip."""
    found: str | None = client().hget(TYPES, name)  # type: ignore[assignment]
    return found


def _first_type(name: str, kind: str) -> str | None:
    if int(client().hlen(TYPES)) >= MAX_METRICS:  # type: ignore[arg-type]
        raise IntegrationError(ErrorCode.TOO_MANY_SERIES, f"there are {MAX_METRICS} metrics already", recovery_suggestion="use labels")
    if other := families.clashing(name, kind, types()):
        raise IntegrationError(
            ErrorCode.METRIC_TYPE_CONFLICT, f"the samples of {name} would have names of {other}", recovery_suggestion="choose another name"
        )
    client().hsetnx(TYPES, name, kind)
    return _known_type(name)


def types() -> dict[str, str]:
    """Return the type of every metric by name, sorted."""
    return dict(sorted(client().hgetall(TYPES).items()))  # type: ignore[union-attr]


def descriptions() -> dict[str, str]:
    """Return what metrics mean, by name, as far as somebody said."""
    return dict(client().hgetall(HELP))  # type: ignore[arg-type]


def read(names: Iterable[str]) -> dict[str, list[Series]]:
    """Return all series of the metrics `names`, in one round trip."""
    names = list(names)
    with client().pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(f"hub:metric:{name}")
        answers = pipe.execute()
    return {name: _series(fields) for name, fields in zip(names, answers, strict=True)}


def drop_series(name: str, is_gone: Callable[[dict[str, str]], bool]) -> None:
    """Forget those series of a gauge whose labels name what is not there any more."""
    key = f"hub:metric:{name}"
    labels: Any = client().smembers(f"{key}:sets")
    gone = [one for one in labels if is_gone(json.loads(one))]
    if gone:
        with client().pipeline(transaction=True) as pipe:
            pipe.hdel(key, *gone)
            pipe.srem(f"{key}:sets", *gone)
            pipe.execute()


def _series(fields: dict[str, str]) -> list[Series]:
    found: dict[str, Series] = {}
    for text, value in sorted(fields.items()):
        labels, _, part = text.partition("\n")
        series = found.setdefault(labels, Series(labels=_shown(labels)))
        _set_part(series, part, value)
    return list(found.values())


def _shown(labels: str) -> dict[str, str]:
    return {name: storable(value) for name, value in json.loads(labels).items()}


def _set_part(series: Series, part: str, value: str) -> None:
    if not part:
        series.value = float(value)
    elif part == "count":
        series.count = int(value)
    elif part.startswith("x"):
        series.exemplars[int(part[1:])] = value
    else:
        series.buckets[int(part)] = int(value)
