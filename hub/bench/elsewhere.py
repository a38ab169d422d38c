"""Measure in a process of its own, where the database or a setting must be another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from hub.bench.figures import Sample

LIMIT_SEC = 120.0


def run(module: str, *arguments: str, env: Mapping[str, str], limit_sec: float = LIMIT_SEC) -> str:
    """Run a module of this package with a changed environment; return its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=limit_sec)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"{module} {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def sample(module: str, *arguments: str, env: Mapping[str, str]) -> Sample:
    """Return what it printed: ``{"figure": ..., "units": ...}``."""
    return Sample(**json.loads(run(module, *arguments, env=env)))
