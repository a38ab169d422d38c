"""Faults on a running stage. Each does its harm, puts it right where it must be, and returns the proof that it bit.

An empty proof means that it found nothing to harm (no message in the queue, say); such a fault is not counted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis

from hub.testing.processes import Process
from hub.testing.rig import wait_until
from tests.chaos.faultproxy import Remote
from tests.chaos.stage import Stage

DISCARDED, UNREGISTERED = "Discarding revoked task", "Received unregistered task"
LOOK_SEC = 6.0
"""How long a fault of the queue waits for a message to harm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nemesis:
    """Faults on one stage; `frozen_sec` is longer than a lease."""

    stage: Stage
    proxy: Remote
    random: random.Random
    frozen_sec: float
    gone_sec: float = 5.0
    start_typo: Callable[[], str]
    """Start a saga with a task name that nobody knows and return its key."""
    queue: str = "hub.sagas"

    def kinds(self) -> dict[str, Callable[[], str]]:
        """Return every fault by its name."""
        return {
            "worker killed": self.kill_worker,
            "child killed": self.kill_child,
            "worker frozen": self.freeze_worker,
            "redis cut": self.cut_redis,
            "BRPOP answer lost": lambda: self.lose_answers("BRPOP"),
            "LPUSH answer lost": lambda: self.lose_answers("LPUSH"),
            "redis restarted empty": self.restart_redis,
            "database gone": lambda: self.stage.database.be_gone(self.gone_sec),
            "messages doubled": self.double_messages,
            "messages lost": self.lose_messages,
            "links revoked": self.revoke_links,
            "links expired": self.expire_links,
            "task name unknown": self.rename_links,
            "step task unknown": self.start_typo,
        }

    # --- processes

    def kill_worker(self) -> str:
        """End a worker with all its children."""
        worker = self._worker()
        pid = worker.pid
        worker.signal(signal.SIGKILL)
        wait_until(lambda: not _is_there(pid), timeout_sec=10, what=f"death of {worker.name}")
        return f"{worker.name} ({pid}) is gone"

    def kill_child(self) -> str:
        """End one pool child."""
        worker = self._worker()
        children = worker.children()
        if not children:
            return ""
        pid = self.random.choice(children)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _is_there(pid), timeout_sec=10, what=f"death of child {pid}")
        return f"child {pid} of {worker.name} is gone"

    def freeze_worker(self) -> str:
        """Stop a worker with its children for longer than a lease, then let it go on as a zombie."""
        worker = self._worker()
        worker.signal(signal.SIGSTOP)
        try:
            time.sleep(self.frozen_sec)
            state = _state(worker.pid)
        finally:
            worker.signal(signal.SIGCONT)
        return f"{worker.name} was in state {state} for {self.frozen_sec:g} s" if state == "T" else ""

    def _worker(self) -> Process:
        names = [name for name in self.stage.rig.processes if name.startswith(("worker", "layer"))]
        return self.stage.rig.processes[self.random.choice(names)]

    # --- Redis

    def cut_redis(self) -> str:
        """Reset every connection of the workers and refuse new ones for three seconds."""
        before = self.proxy.order()
        self.proxy.order(mode="cut")
        time.sleep(3)
        cut = self.proxy.order(mode="pass") - before
        return f"{cut} connections reset or refused" if cut else ""

    def lose_answers(self, command: str) -> str:
        """Let three commands through and lose their answers."""
        before = self.proxy.order()
        self.proxy.order(mode="lose_answer", command=command, count=3)
        with suppress(TimeoutError):
            wait_until(lambda: self.proxy.order() - before >= 3, timeout_sec=LOOK_SEC, what="three lost answers")
        lost = self.proxy.order(mode="pass") - before
        return f"{lost} answers to {command} lost" if lost else ""

    def restart_redis(self) -> str:
        """Kill the server; it comes back without its data."""
        server = self.stage.rig.processes["redis"]
        client = self._redis()
        before, pid = client.info("server")["run_id"], server.pid
        server.signal(signal.SIGKILL)
        wait_until(lambda: _run_id(client) not in ("", before), timeout_sec=20, what="a new Redis")
        return f"process {pid} is gone, run id {before[:8]} became {_run_id(client)[:8]}, without persistence"

    # --- messages

    def double_messages(self) -> str:
        """Put copies of the next messages of the queue behind them."""
        messages = self._peek()
        self._push(messages * 3)
        return f"{len(messages)} messages copied three times" if messages else ""

    def lose_messages(self) -> str:
        """Take messages away as a broker that lost them."""
        lost = len(self._take())
        return f"{lost} messages taken away" if lost else ""

    def revoke_links(self) -> str:
        """Revoke links that wait in the queue: no callback is called for these."""
        from hub.celery import app

        ids = [json.loads(message)["headers"]["id"] for message in self._peek()]
        before = self._logged(DISCARDED)
        if ids:
            app.control.revoke(ids)
        return self._seen_by_workers(DISCARDED, before, f"{len(ids)} links revoked") if ids else ""

    def expire_links(self) -> str:
        """Let links that wait in the queue be past their time."""
        past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        return self._rewrite("expires", past, DISCARDED, "expired")

    def rename_links(self) -> str:
        """Give links that wait in the queue a task name that no worker knows."""
        return self._rewrite("task", "hub.sagas.no_such_task", UNREGISTERED, "renamed")

    def _rewrite(self, header: str, value: str, reaction: str, word: str) -> str:
        before = self._logged(reaction)
        messages = [json.loads(message) for message in self._take()]
        for message in messages:
            message["headers"][header] = value
        self._push([json.dumps(message).encode() for message in messages])
        return self._seen_by_workers(reaction, before, f"{len(messages)} links {word}") if messages else ""

    def _seen_by_workers(self, reaction: str, before: int, proof: str) -> str:
        """Return the proof if a worker says that it dropped a message since, else nothing."""
        with suppress(TimeoutError):
            wait_until(lambda: self._logged(reaction) > before, timeout_sec=LOOK_SEC, what=reaction)
        dropped = self._logged(reaction) - before
        return f"{proof}, {dropped} dropped by workers" if dropped else ""

    def _logged(self, text: str) -> int:
        return sum(process.log().count(text) for name, process in self.stage.rig.processes.items() if name.startswith("worker"))

    def _peek(self) -> list[bytes]:
        return self._when_there(lambda client: client.lrange(self.queue, -3, -1))

    def _take(self) -> list[bytes]:
        return self._when_there(lambda client: client.rpop(self.queue, 3) or [])

    def _when_there(self, look: Callable[[redis.Redis], Any]) -> list[bytes]:
        client, give_up_at = self._redis(), time.monotonic() + LOOK_SEC
        found: list[bytes] = []
        while not found and time.monotonic() < give_up_at:
            with suppress(redis.RedisError):
                found = look(client)
        return found

    def _push(self, messages: list[bytes]) -> None:
        with suppress(redis.RedisError):
            if messages:
                self._redis().lpush(self.queue, *messages)

    def _redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.stage.rig.redis_url, socket_timeout=5)


def _run_id(client: redis.Redis) -> str:
    try:
        found: str = client.info("server")["run_id"]
    except redis.RedisError:
        return ""
    return found


def _is_there(pid: int) -> bool:
    return _state(pid) not in ("", "Z", "X")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
