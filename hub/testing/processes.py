"""Processes that a rig starts, kills, freezes and starts again, each in a group of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process:
    """A process with its children as one group, and its output in a file."""

    def __init__(self, name: str, command: list[str], *, env: Mapping[str, str], log_dir: Path) -> None:
        self.name, self.command, self.env = name, command, dict(env)
        self.log_path = log_dir / f"{name}.log"
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start it, or start it again; the log goes on."""
        self.starts += 1
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self.command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        """Return what it wrote so far."""
        return self.log_path.read_text(errors="replace")

    def children(self) -> list[int]:
        """Return the ids of its direct children (of a prefork worker: its pool)."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def signal(self, number: int) -> None:
        """Send a signal to it and all its children; to nobody when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it and all its children at once."""
        self.signal(signal.SIGKILL)
        self._process.wait(15)


def _end_with_parent() -> None:
    """Do not outlive a rig that was itself killed."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
