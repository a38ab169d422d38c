"""The services behind the sagas under test: one process, one lock, one ledger that is on disk before any answer.

    python -m tests.chaos.target PORT LEDGER [honours|ignores]

It honours the idempotency key and keeps a tombstone per undone step, so that a late action is turned away; with
``ignores`` it does neither. What else it does is asked of the caller's context: ``{"plan": {"c": "refuse"}}``, for the undo
of a step ``{"c.undo": ...}``: refuse, busy, lost (acts, then resets), vanish (resets without acting), toss (lost or vanish,
by chance), hang (acts, then is silent), long, slow, brief, late (refuses once four steps of the run have come); with
`` once`` only at the first attempt.

``GET /applied?key=...`` says whether that took effect (200 or 404), ``GET /most_undos`` how many undos ran at once at most.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
import zlib
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAUSES_SEC = {"hang": 20.0, "long": 5.0, "slow": 0.7, "brief": 0.15}
SILENT = ("lost", "vanish")
LATE_STEPS, LATE_SEC = 4, 3.0


class Ledger:
    """Requests and effects in one total order."""

    def __init__(self, path: Path, *, honours_keys: bool) -> None:
        self._book = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._honours, self._lock, self._seq = honours_keys, threading.Lock(), 0
        self._applied: set[str] = set()
        self._undone: set[tuple[str, str]] = set()
        self._came: dict[str, set[str]] = defaultdict(set)
        self._undos, self.most_undos = 0, 0

    def take(self, about: dict[str, str], *, answer: str) -> bool:
        """Write the request and what became of it; return whether it is accepted."""
        with self._lock:
            verdict = self._judge(about, answer)
            self._write(about, ["received"] if verdict == "none" else ["received", verdict])
            return verdict in ("applied", "replayed")

    def wait_for_others(self, about: dict[str, str]) -> None:
        """Return when enough steps of this run have come, or after a while."""
        with self._lock:
            came = self._came[about["saga"]]
            came.add(about["step"])
        give_up_at = time.monotonic() + LATE_SEC
        while len(came) < LATE_STEPS and time.monotonic() < give_up_at:
            time.sleep(0.02)

    def has_applied(self, key: str) -> bool:
        """Tell whether that took effect at least once."""
        with self._lock:
            return key in self._applied

    def undo_runs(self, change: int) -> None:
        """Count an undo that begins (1) or has ended (-1)."""
        with self._lock:
            self._undos += change
            self.most_undos = max(self.most_undos, self._undos)

    def _judge(self, about: dict[str, str], answer: str) -> str:
        step = (about["saga"], about["step"])
        self._came[about["saga"]].add(about["step"])
        if answer in ("busy", "vanish"):
            return "none"
        if answer == "refuse":
            return "rejected"
        if about["direction"] == "undo":
            self._undone.add(step)
        elif self._honours and step in self._undone:
            return "rejected"
        if self._honours and about["key"] in self._applied:
            return "replayed"
        self._applied.add(about["key"])
        return "applied"

    def _write(self, about: dict[str, str], events: list[str]) -> None:
        lines = []
        for event in events:
            self._seq += 1
            lines.append(json.dumps({"seq": self._seq, "event": event, **about}) + "\n")
        os.write(self._book, "".join(lines).encode())
        os.fsync(self._book)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ledger: Ledger

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        about = self._about()
        answer = self._answer(body.get("context", {}).get("plan", {}), about)
        is_undo = about["direction"] == "undo"
        self.ledger.undo_runs(is_undo)
        accepted = self.ledger.take(about, answer=answer)
        time.sleep(PAUSES_SEC.get(answer, 0))
        self.ledger.undo_runs(-is_undo)
        if answer in SILENT:
            self._reset()
        else:
            self._say(200 if accepted else 503 if answer == "busy" else 409)

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/most_undos":
            self._say(200, str(self.ledger.most_undos))
        elif asked.path == "/applied":
            self._say(200 if self.ledger.has_applied(parse_qs(asked.query)["key"][0]) else 404)
        else:
            self._say(200)

    def _about(self) -> dict[str, str]:
        direction = "undo" if self.headers["X-Hub-Kind"] == "compensation" else "do"
        names = {"key": "Idempotency-Key", "saga": "X-Hub-Saga", "step": "X-Hub-Step", "attempt": "X-Hub-Attempt"}
        return {**{name: self.headers[header] or "" for name, header in names.items()}, "direction": direction}

    def _answer(self, plan: dict[str, str], about: dict[str, str]) -> str:
        word, _, once = plan.get(about["step"] + (".undo" if about["direction"] == "undo" else ""), "").partition(" ")
        if word == "late":
            self.ledger.wait_for_others(about)
            return "refuse"
        if word == "toss":
            return SILENT[zlib.crc32(f"{about['key']} {about['attempt']}".encode()) % 2]
        return "" if once and about["attempt"] != "1" else word

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _say(self, status: int, text: str = "{}") -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the ledger says it all."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed is what this is for."""


def main() -> None:
    port, path, manners = int(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or ["honours"])[0]
    Handler.ledger = Ledger(path, honours_keys=manners == "honours")
    Server(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
