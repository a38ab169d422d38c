"""Run a kill matrix from any test: in a process of its own, so that it needs nothing of the caller's Django or Celery."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hub.testing.values import Case, Report, Scope, Violation, from_dict

Check = Callable[[Case], Iterable[str]]
"""Looks at the caller's own world after a run and says what is wrong there; nothing if all is well."""

LOG_TAIL = 4_000


def run_kill_matrix(
    saga: str,
    context: Mapping[str, Any] | None = None,
    *,
    scopes: Sequence[Scope] = ("process",),
    points: Sequence[str] = (),
    signals: Mapping[str, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    end_sec: float = 60,
    check: Check | None = None,
    database_url: str = "",
    env: Mapping[str, str] | None = None,
    var_dir: Path | None = None,
    timeout_sec: float = 900,
) -> Report:
    """Kill a saga at every crash point, forward and while it is undone, and return what each run came to.

    `saga` is ``package.module:name`` of a `SagaDefinition` that workers can import. It is run as it is, and once more with a
    last step that refuses, so that everything is undone. `scopes`: ``process`` kills the pool child, ``group`` the whole
    worker. `points` limits the crash points (names or beginnings of names). `signals` and `events` are payloads by name and
    by topic: what steps wait for is given to each run, as often as it takes. A run that takes longer than `end_sec` counts as
    stuck. `check` is called with every case after all runs have ended. SQLite in a directory of its own unless `database_url`
    is given; `env` is added to the workers'.
    """
    with tempfile.TemporaryDirectory(prefix="hub-kill-matrix-") as scratch:
        home = var_dir or Path(scratch)
        report_path = home / "report.json"
        arguments = [saga, "--context", json.dumps(dict(context or {})), "--dir", str(home), "--report", str(report_path)]
        arguments += ["--end-sec", str(end_sec)]
        arguments += [f"--scope={scope}" for scope in scopes] + [f"--point={point}" for point in points]
        arguments += [f"--signal={name}={json.dumps(payload)}" for name, payload in (signals or {}).items()]
        arguments += [f"--event={topic}={json.dumps(payload)}" for topic, payload in (events or {}).items()]
        _run([*arguments, *([f"--database={database_url}"] if database_url else [])], {**os.environ, **(env or {})}, home, timeout_sec)
        report = from_dict(json.loads(report_path.read_text()))
    return report if check is None else Report(cases=tuple(_checked(case, check) for case in report.cases))


def _run(arguments: list[str], env: Mapping[str, str], home: Path, timeout_sec: float) -> None:
    log = home / "driver.log"
    clean = {key: value for key, value in env.items() if key not in ("DATABASE_URL", "REDIS_URL", "HUB_VAR_DIR", "HUB_SAGA_MODULES")}
    # The caller's own modules must be found there as they are found here.
    clean["PYTHONPATH"] = os.pathsep.join([*filter(None, sys.path), *filter(None, [env.get("PYTHONPATH")])])
    clean["DJANGO_SETTINGS_MODULE"] = "hub.settings"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "hub.testing", *arguments], env=clean, stdout=out, stderr=out)  # noqa: S603
        try:
            code = process.wait(timeout_sec)
        except BaseException:
            process.send_signal(signal.SIGTERM)  # its rig ends with it
            process.wait(30)
            raise
    if code not in (0, 1):
        raise RuntimeError(f"the kill matrix itself failed ({code}):\n{log.read_text(errors='replace')[-LOG_TAIL:]}")


def _checked(case: Case, check: Check) -> Case:
    return replace(case, violations=[*case.violations, *(Violation(kind="broken", text=text) for text in check(case))])
