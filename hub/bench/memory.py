"""Memory of a process and all below it, from Linux' ``/proc``."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from hub.bench import cputime

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def of_tree_mb(pid: int) -> float:
    """Return the megabytes of a process and its descendants, a page that n of them share counted as an nth for each (PSS)."""
    times = cputime.of_all()
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += [child for child, one in times.items() if one.parent == found[-1]]
    return sum(_pss_kb(one) for one in found) / 1024


def _pss_kb(pid: int) -> int:
    with contextlib.suppress(OSError):  # it ended meanwhile
        match = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return int(match[1]) if match else 0
    return 0
