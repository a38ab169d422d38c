"""Keep processes running: start, watch, start again with backoff, stop with all their children.

Written by hand because the supervisors at hand stop everything when one process ends. One thread, no signals of its own:
the owner calls `tick` from its loop and says when to stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hub.console.processes import ProcessSpec, deaths_after, restart_delay_sec

TICK_SEC = 0.1
LOG_LIMIT_BYTES = 20_000_000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes]
    started_at: float
    deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """The processes of one `manage.py up`.

    `say` gets one line per event that a person should know of; `on_change` is called when a process id has changed.
    `inherited` are file descriptors that every child holds as long as it lives (the lock of `up`).
    """

    def __init__(
        self,
        *,
        log_dir: Path,
        directory: Path,
        say: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
        inherited: Iterable[int] = (),
    ) -> None:
        self._log_dir, self._directory, self._say, self._on_change = log_dir, directory, say, on_change
        self._inherited = tuple(inherited)
        self._children: dict[str, _Child] = {}

    def start(self, spec: ProcessSpec) -> None:
        """Start the process and watch it from now on; its output goes to a fresh file in the log directory."""
        log = self.log_path(spec.name)
        if log.exists():
            log.replace(f"{log}.1")
        self._children[spec.name] = _Child(spec, self._spawn(spec), time.monotonic())
        self._note_change()

    def pids(self) -> dict[str, int]:
        """Return the ids of the processes that live, by name."""
        return {name: child.process.pid for name, child in self._children.items() if child.restart_at is None}

    def deaths(self, name: str) -> int:
        """Return how often in a row the process ended by itself."""
        return self._children[name].deaths

    def log_path(self, name: str) -> Path:
        """Return where the process writes."""
        return self._log_dir / f"{name}.log"

    def tick(self) -> None:
        """Look once at every process: note who died, start again who is due, cut logs that grew too long."""
        for child in self._children.values():
            if child.restart_at is None:
                self._note_death(child)
            elif time.monotonic() >= child.restart_at:
                self._restart(child)
            self._cut_log(child.spec.name)

    def stop_all(self, *, at_once: Callable[[], bool] = lambda: False) -> None:
        """Stop stage by stage; what has not ended in its time, or when `at_once` turns true, is killed."""
        by_stage = sorted(self._children.values(), key=lambda child: -child.spec.stage)
        for _, stage in groupby(by_stage, key=lambda child: child.spec.stage):
            self._stop(list(stage), at_once)
        self._children.clear()

    def _spawn(self, spec: ProcessSpec) -> subprocess.Popen[bytes]:
        self._log_dir.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
        with self.log_path(spec.name).open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                spec.command,
                cwd=self._directory,
                env=_merged(os.environ, spec.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal reaches only us; the group holds all its children
                preexec_fn=_end_with_parent,
                pass_fds=self._inherited,
            )

    def _note_death(self, child: _Child) -> None:
        code = child.process.poll()
        if code is None:
            return
        _kill_group(child.process.pid)
        now = time.monotonic()
        child.deaths = deaths_after(child.deaths, lived_sec=now - child.started_at)
        delay_sec = restart_delay_sec(child.deaths, jitter=random.random())  # noqa: S311
        child.restart_at = now + delay_sec
        log = self.log_path(child.spec.name)
        self._say(f"{child.spec.name} ended with {_exit_in_words(code)}; starts again in {delay_sec:.1f} s (its output: {log})")
        self._note_change()

    def _restart(self, child: _Child) -> None:
        child.process = self._spawn(child.spec)
        child.started_at, child.restart_at = time.monotonic(), None
        self._say(f"{child.spec.name} started again (process {child.process.pid})")
        self._note_change()

    def _note_change(self) -> None:
        try:
            self._on_change()
        except OSError as exc:  # a full disk: no reason to end what still runs
            self._say(f"what runs now could not be written down: {exc.strerror}")

    def _stop(self, children: list[_Child], at_once: Callable[[], bool]) -> None:
        for child in children:
            if child.process.poll() is None:
                child.process.terminate()
        for child in children:
            give_up_at = time.monotonic() + child.spec.stop_timeout_sec
            while child.process.poll() is None and time.monotonic() < give_up_at and not at_once():
                time.sleep(TICK_SEC)
            _kill_group(child.process.pid)
            child.process.wait()

    def _cut_log(self, name: str) -> None:
        log = self.log_path(name)
        if not log.exists() or log.stat().st_size <= LOG_LIMIT_BYTES:
            return
        try:
            shutil.copyfile(log, f"{log}.1")
        except OSError as exc:  # a full disk needs the room all the more
            self._say(f"{log} was cut and what it held is lost: {exc.strerror}")
        os.truncate(log, 0)  # the process appends, so it goes on at the new end


def _merged(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    return {**base, **extra}


def _end_with_parent() -> None:
    # Runs between fork and exec. If `up` is killed, no process stays behind unseen (Linux; elsewhere the lock tells).
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _exit_in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
