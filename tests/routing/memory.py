"""How much memory a worker's pool children have needed, by Linux' own account."""

from contextlib import suppress
from pathlib import Path

import psutil


class Peaks:
    """The most memory that each child of a worker's pool has had since `begin`, in kB."""

    def __init__(self, worker):
        self._children = psutil.Process(worker.pid).children()

    def begin(self):
        for child in self._children:
            (Path("/proc") / str(child.pid) / "clear_refs").write_text("5")  # proc(5): the peak is what is used now
        self._before = {child: child.memory_info().rss // 1024 for child in self._children}

    def grown(self):
        found = {}
        for child, before in self._before.items():
            with suppress(FileNotFoundError, ProcessLookupError):  # a child that has done its share of tasks is replaced
                found[child.pid] = _peak_kb(child.pid) - before
        return found


def _peak_kb(pid):
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
