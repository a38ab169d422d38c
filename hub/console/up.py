"""The run of one `manage.py up`: prepare, start, wait until ready, demo, watch, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import redis
from django.core.management import get_commands
from django.db import connection

from hub import embedded
from hub.conf import BASE_DIR, HubSettings
from hub.console import plan, run_record, startup
from hub.console.processes import ProcessSpec
from hub.console.supervisor import TICK_SEC, Supervisor
from hub.errors import ErrorCode, IntegrationError
from hub.kept_secrets import kept_secret
from sagas import catalog

READY_TIMEOUT_SEC = 120.0
DEMO_TIMEOUT_SEC = 180.0
GIVE_UP_DEATHS = 4
LOG_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asked for."""

    demo: bool = True
    once: bool = False
    reset: bool = False
    port: int | None = None


class _Stopped(Exception):
    """A signal asked to stop."""


class Up:
    """One run; `run` returns the exit code."""

    def __init__(self, hub: HubSettings, options: Options, *, say: Callable[[str], None]) -> None:
        self._hub, self._options, self._say = hub, options, say
        self._var_dir = hub.var_dir.resolve()
        self._signals = 0
        self._admin = startup.ADMIN_NAME

    def run(self) -> int:
        """Do it all; whatever happens, no process of ours stays behind."""
        with run_record.take_lock(self._var_dir, running=self._hub.run_record) as lock:
            if self._options.reset:
                startup.reset(self._var_dir)
            self._site = self._choose_site()
            self._supervisor = Supervisor(
                log_dir=self._var_dir / "log",
                directory=BASE_DIR,
                say=lambda line: self._say(f"{time.strftime('%H:%M:%S')}  {line}"),
                on_change=self._write_record,
                inherited=[lock.fileno()],
            )
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._on_signal)
            return self._run_and_stop()

    def _run_and_stop(self) -> int:
        try:
            self._write_record()
            self._start()
            return self._serve()
        except _Stopped:
            return 1 if self._options.once else 0
        finally:
            if self._supervisor.pids():
                self._say("stopping ...")
            self._supervisor.stop_all(at_once=lambda: self._signals > 1)
            self._record_path.unlink(missing_ok=True)

    def _choose_site(self) -> plan.Site:
        password, is_new = kept_secret(self._var_dir / "flower_password")
        if is_new:
            self._say(f"Flower: user hub, password {password}   (shown only now; kept in {self._var_dir / 'flower_password'})")
        modules = [self._hub.saga_modules] if self._hub.saga_modules else []
        return plan.Site(
            var_dir=self._var_dir,
            redis_url=self._hub.redis_url or f"redis://127.0.0.1:{startup.kept_port(self._var_dir / 'redis_port')}/0",
            database_url=self._hub.resolved_database_url(),
            web_port=startup.choose_port(self._options.port, 8000),
            flower_port=startup.choose_port(None, 5555),
            flower_password=password,
            flower_link=self._hub.flower_url,
            saga_modules=",".join([*modules, *(["demo.sagas"] if self._options.demo else [])]),
            demo_ports=startup.demo_ports(self._var_dir / "demo" / "ports.json", plan.DEMO_SERVICES) if self._options.demo else {},
        )

    def _start(self) -> None:
        catalog.specs()  # what is wrong with a definition is said here, not by each worker at its first saga
        self._start_redis()
        startup.migrate(self._say)
        startup.collect_static()
        self._admin, password = startup.ensure_admin()
        connection.close()
        if password:
            self._say(f"console: made the administrator {self._admin}, password {password}   (shown only now)")
        specs = [*plan.demo_processes(self._site), *plan.hub_processes(self._site, with_relay="relay" in get_commands())]
        started = time.monotonic()
        for _, stage in groupby(sorted(specs, key=lambda spec: spec.stage), key=lambda spec: spec.stage):
            self._start_stage(list(stage))
        self._say(f"ready after {time.monotonic() - started:.1f} s")

    def _start_stage(self, specs: list[ProcessSpec]) -> None:
        self._say(f"starting {', '.join(spec.name for spec in specs)} ...")
        for spec in specs:
            self._supervisor.start(spec)
        self._wait_until_ready(specs)

    def _start_redis(self) -> None:
        if self._hub.redis_url:
            startup.require_redis(self._hub.redis_url)
            self._say("Redis: that of REDIS_URL")
            return
        data_dir = self._var_dir / "redis"
        data_dir.mkdir(exist_ok=True)
        port = int(self._site.redis_url.rsplit(":", 1)[1].split("/")[0])
        self._start_stage([plan.redis_process(self._site, embedded.redis_command(data_dir, port))])
        self._say(f"Redis: started for this run, data in {data_dir}")

    def _wait_until_ready(self, specs: list[ProcessSpec]) -> None:
        started = time.monotonic()
        waiting = [spec for spec in specs if spec.ready_url]
        while waiting:
            self._tick()
            alive = self._supervisor.pids()  # for one that ended somebody else may answer
            waiting = [spec for spec in waiting if spec.name not in alive or lacks(spec.ready_url or "")]
            fallen = [spec for spec in specs if self._supervisor.deaths(spec.name) >= GIVE_UP_DEATHS]
            if fallen or (waiting and time.monotonic() - started > READY_TIMEOUT_SEC):
                raise self._not_ready((fallen or waiting)[0])

    def _not_ready(self, spec: ProcessSpec) -> IntegrationError:
        lines = self._supervisor.log_path(spec.name).read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        self._say("\n".join(f"  {spec.name} | {line}" for line in lines))
        why = lacks(spec.ready_url) if spec.ready_url else "it ends again and again"
        return IntegrationError(ErrorCode.INTERNAL_ERROR, f"{spec.name} did not get ready ({why}); its last lines are above")

    def _serve(self) -> int:
        self._say(self._table())
        passed = self._run_demo() if self._options.demo else True
        if self._options.once:
            return 0 if passed else 1
        self._say("Running. Ctrl-C stops all.")
        while True:
            self._tick()

    def _run_demo(self) -> bool:
        env = {**os.environ, **plan.environment(self._site)}
        demo = subprocess.Popen([sys.executable, "manage.py", "demo"], cwd=BASE_DIR, env=env, start_new_session=True)
        give_up_at = time.monotonic() + DEMO_TIMEOUT_SEC
        try:
            while demo.poll() is None and time.monotonic() < give_up_at:
                self._tick()
        finally:
            demo.kill()
        return demo.wait() == 0

    def _tick(self) -> None:
        if self._signals:
            raise _Stopped
        self._supervisor.tick()
        time.sleep(TICK_SEC)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1

    @property
    def _record_path(self) -> Path:
        return self._var_dir / "run.json"

    def _write_record(self) -> None:
        record = plan.run_record(self._site, pid=os.getpid(), admin_user=self._admin, processes=self._supervisor.pids())
        run_record.write(self._record_path, record)

    def _table(self) -> str:
        site = self._site
        rows = [("Console", f"{site.web_url}/admin/   (user {self._admin})"), ("Flower", f"{site.flower_url}/   (user hub)")]
        rows += [("Ready?", f"{site.web_url}/readyz"), *((f"Demo {name}", site.demo_url(name)) for name in site.demo_ports)]
        rows += [("Redis", plan.without_password(site.redis_url)), ("Database", plan.without_password(site.database_url))]
        rows += [("Record", str(self._record_path)), ("Output", str(self._var_dir / "log"))]
        return "\n".join(["", *(f"  {label:<14}{value}" for label, value in rows), ""])


def lacks(ready_url: str) -> str | None:
    """Return what keeps the address from answering 200, or a Redis from answering, in one line, or None when it does."""
    if ready_url.startswith("redis:"):
        return _redis_lacks(ready_url)
    try:
        with urllib.request.urlopen(ready_url, timeout=5) as answer:  # noqa: S310 (our own loopback addresses)
            return None if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as exc:
        return _failed_checks(exc.read()) or f"status {exc.code}"
    except OSError as exc:
        return str(exc)


def _redis_lacks(url: str) -> str | None:
    try:
        redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3).ping()
    except redis.RedisError as exc:  # also while it loads its data
        return startup.first_line(exc)
    return None


def _failed_checks(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
    except (ValueError, KeyError, TypeError):
        return ""
    return "; ".join(f"{name}: {check['message']}" for name, check in checks.items() if not check["ok"])
