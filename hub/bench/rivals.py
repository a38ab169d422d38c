"""What the hub is measured against: libraries in a virtual environment of their own, made when an arm first needs one.

``bench/requirements.txt`` names them; ``bench/rivals/NAME.py`` each prints one JSON line ``{"figure": ..., "units": ...}``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from hub.bench.figures import Sample

ROOT = Path(__file__).resolve().parent.parent.parent
REQUIREMENTS = ROOT / "bench" / "requirements.txt"
INSTALL_SEC, ROUND_SEC = 600, 180


class RivalAbsent(Exception):
    """A rival cannot run here; the text says why, and its rows are left out."""


class Rivals:
    """The environment of the rivals below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._venv = directory / "bench-venv"
        self._ready = False

    def run(self, name: str, *arguments: str) -> Sample:
        """Run a rival's script and return what it measured; `RivalAbsent` when it cannot run."""
        self._prepare()
        command = [str(self._venv / "bin" / "python"), str(ROOT / "bench" / "rivals" / f"{name}.py"), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ROUND_SEC)  # noqa: S603
        except subprocess.TimeoutExpired as exc:
            raise RivalAbsent(f"{name}: it took longer than {ROUND_SEC} s") from exc
        if done.returncode != 0:
            raise RivalAbsent(f"{name}: {(done.stderr.strip().splitlines() or ['it failed'])[-1][:200]}")
        return Sample(**json.loads(done.stdout.strip().splitlines()[-1]))

    def beside_the_hub(self) -> tuple[str, dict[str, str]]:
        """Return an interpreter and an environment that find the hub's packages first, then the rivals'."""
        self._prepare()
        return str(self._venv / "bin" / "python"), {"PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])}

    def _prepare(self) -> None:
        stamp, wanted = self._venv / "installed", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
        if self._ready or (stamp.exists() and stamp.read_text() == wanted):
            self._ready = True
            return
        python = self._venv / "bin" / "python"
        base = getattr(sys, "_base_executable", sys.executable)
        _install([base, "-m", "venv", "--without-pip", "--clear", str(self._venv)])
        _install([base, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check", "install", "-r", str(REQUIREMENTS)])
        stamp.write_text(wanted)
        self._ready = True


def _install(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SEC)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise RivalAbsent(f"the rivals could not be installed: {exc}") from exc
    if done.returncode != 0:
        raise RivalAbsent(f"the rivals could not be installed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}")
