"""CPU seconds of processes, from Linux' ``/proc``; nothing elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Times:
    """One process: its parent, its own seconds, and those of its children that ended."""

    parent: int
    user_sec: float
    reaped_sec: float


def of_all() -> dict[int, Times]:
    """Return the times of every process of this machine, and at least a zero for this one."""
    found = {os.getpid(): Times(os.getppid(), 0.0, 0.0)}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        user, system, ended_user, ended_system = (int(ticks) / _TICKS for ticks in fields[11:15])
        found[int(path.parent.name)] = Times(int(fields[1]), user + system, ended_user + ended_system)
    return found


def of_tree(pid: int, times: Mapping[int, Times]) -> float:
    """Return the seconds of a process and all below it."""
    if pid not in times:
        return 0.0
    below = [child for child, one in times.items() if one.parent == pid]
    return times[pid].user_sec + times[pid].reaped_sec + sum(of_tree(child, times) for child in below)
