"""From samples to verdicts (pure): an arm is one way to do a thing, a row compares two arms, a round runs each arm once.

Only ratios within a round are compared: this machine's next hour may be half as fast as this one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

NOISY_SPREAD = 1.5
"""Rounds whose ratios lie further apart than this factor say little; the report says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What an arm did in one round: `figure` is a rate per second, or a time in milliseconds; the rest is per unit."""

    figure: float
    units: int = 1
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    """By kind of process: this one, ``worker``, ``redis``, ``postgres``, ..."""
    redis_commands: float | None = None
    redis_round_trips: float | None = None
    transactions: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One comparison. Without a `rival` the figure itself is held against the target; without a target it is only shown."""

    id: str
    what: str
    ours: str
    rival: str = ""
    floor: str = ""
    """An arm whose time is taken off both sides first: what is left is what each adds."""
    reads: str = "figure"
    """Which value of a sample is compared: `transactions` and `redis_round_trips` are counts per unit."""
    must: float | None
    ambitious: float | None
    less_is_better: bool = False
    databases: tuple[str, ...] = ("sqlite", "postgres")
    is_extra: bool = False
    """Measured only if it is asked for by its id: it takes long, or tells about a choice and not about the hub."""

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(arm for arm in (self.ours, self.rival, self.floor) if arm)

    def read(self, sample: Sample) -> float:
        """Return the value that is compared."""
        return float(getattr(sample, self.reads))

    def met(self, ratio: float) -> str:
        """Tell which target a ratio reaches: ``ambitious``, ``must``, ``no``, or nothing where there is none."""
        if self.must is None or self.ambitious is None:
            return ""
        return "ambitious" if self._meets(ratio, self.ambitious) else "must" if self._meets(ratio, self.must) else "no"

    def _meets(self, ratio: float, target: float) -> bool:
        return ratio <= target if self.less_is_better else ratio >= target


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A row as it came out: medians over the rounds, and the smallest and largest ratio."""

    id: str
    what: str
    ours: float
    rival: float | None
    ratio: float
    spread: tuple[float, float]
    target: float | None
    ambitious: float | None
    met: str
    is_noisy: bool
    costs: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def judge(row: Row, rounds: Sequence[Mapping[str, Sample]]) -> Verdict | None:
    """Compare a row's arms over the rounds in which all of them ran; None when there is no such round."""
    whole = [one for one in rounds if all(arm in one for arm in row.arms)]
    if not whole:
        return None
    ratios = sorted(_ratio(row, one) for one in whole)
    ratio = median(ratios)
    return Verdict(
        id=row.id,
        what=row.what,
        ours=median(row.read(one[row.ours]) for one in whole),
        rival=median(row.read(one[row.rival]) for one in whole) if row.rival else None,
        ratio=ratio,
        spread=(ratios[0], ratios[-1]),
        target=row.must,
        ambitious=row.ambitious,
        met=row.met(ratio),
        is_noisy=ratios[-1] > NOISY_SPREAD * ratios[0],
        costs={arm: _costs([one[arm] for one in whole]) for arm in row.arms},
    )


def _ratio(row: Row, one: Mapping[str, Sample]) -> float:
    floor = row.read(one[row.floor]) if row.floor else 0.0
    ours = row.read(one[row.ours]) - floor
    return ours / max(row.read(one[row.rival]) - floor, 1e-9) if row.rival else ours


def _costs(samples: Sequence[Sample]) -> dict[str, Any]:
    kinds = sorted({kind for one in samples for kind in one.cpu_ms})
    cpu = {kind: round(median(one.cpu_ms.get(kind, 0.0) for one in samples), 3) for kind in kinds}
    return {
        "cpu_ms": cpu,
        "redis_commands": _median_of([one.redis_commands for one in samples]),
        "redis_round_trips": _median_of([one.redis_round_trips for one in samples]),
        "transactions": _median_of([one.transactions for one in samples]),
    }


def _median_of(found: Sequence[float | None]) -> float | None:
    known = [one for one in found if one is not None]
    return round(median(known), 2) if known else None


def order(arms: Sequence[str], round_number: int) -> list[str]:
    """Return the arms in the order of a round: rotated, and every second time backwards, so that drift hits all alike."""
    shift = round_number % max(len(arms), 1)
    turned = [*arms[shift:], *arms[:shift]]
    return turned[::-1] if round_number % 2 else turned


def chosen(rows: Sequence[Row], only: str, database: str) -> list[Row]:
    """Return the rows that were asked for (``S1,R2``; ``S5`` takes ``S5.dbos`` along) and that this database can show."""
    wanted = _names(only)
    return [row for row in rows if database in row.databases and (_is_wanted(row, wanted) if wanted else not row.is_extra)]


def _is_wanted(row: Row, wanted: Collection[str]) -> bool:
    return row.id in wanted or row.id.split(".")[0] in wanted


def not_shown(rows: Sequence[Row], only: str) -> list[str]:
    """Return what was asked for and is none of these rows: unknown, or not to be shown on this database."""
    names = {row.id for row in rows} | {row.id.split(".")[0] for row in rows}
    return [name for name in _names(only) if name not in names]


def _names(only: str) -> list[str]:
    return [name.strip() for name in only.split(",") if name.strip()]


def is_complete(rows: Sequence[Row], verdicts: Collection[str], missed: Collection[str], *, strictly: bool) -> bool:
    """Tell whether all of ours came out; strictly: also every row. A rival that is not there costs its rows, no more."""
    ours = {row.ours for row in rows}
    return bool(verdicts) and not ours & set(missed) and not (strictly and {row.id for row in rows} - set(verdicts))
