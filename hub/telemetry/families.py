"""Which names a metric takes up on the page: OpenMetrics lets no two metrics share one (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_ENDINGS = {"counter": ("", "_total", "_created"), "histogram": ("", "_bucket", "_count", "_sum", "_created"), "gauge": ("",)}


def base_of(name: str, kind: str) -> str:
    """Return the name of a metric's family: that of a counter is without its ending."""
    return name.removesuffix("_total") if kind == "counter" else name


def names_of(name: str, kind: str) -> set[str]:
    """Return all names that a metric takes up, those of its samples included."""
    return {f"{base_of(name, kind)}{ending}" for ending in _ENDINGS[kind]}


def clashing(name: str, kind: str, others: Mapping[str, str]) -> str | None:
    """Return the metric among `others` (name to type) that shares a name with this one, or None."""
    own = names_of(name, kind)
    return next((other for other, its_kind in others.items() if other != name and own & names_of(other, its_kind)), None)


def that_fit(kinds: Mapping[str, str], taken: Iterable[str]) -> list[str]:
    """Return the metrics that can stand on one page beside the names that are `taken`.

    Of two that clash a gauge gives way: a counter that is not shown would look like one that began anew.
    """
    fitting, used = list[str](), set(taken)
    for name, kind in sorted(kinds.items(), key=lambda one: (one[1] == "gauge", one[0])):
        if not names_of(name, kind) & used:
            fitting.append(name)
            used |= names_of(name, kind)
    return fitting
