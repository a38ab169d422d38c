"""A JSON service over HTTP with its state in one file, and the manners that a saga asks of a participant.

A request with an `Idempotency-Key` acts once: the same key gets the same answer. An undo that names the key of its action
(`X-Hub-Undo-Key`) makes that action refuse if it arrives afterwards.
"""

from __future__ import annotations

import argparse
import copy
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MAX_BODY_BYTES = 1_000_000
MAX_ANSWERS = 1_000
Data = dict[str, Any]
Act = Callable[[Data, Data], Data]
"""An act changes the service's data by a request's body and returns the answer, or raises `Conflict`."""


class Conflict(Exception):
    """The request is refused and nothing happened (409)."""


class State:
    """The service's data and the answers it gave, on disk before they are told."""

    def __init__(self, path: Path, empty: Data) -> None:
        self._path, self._lock = path, threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._all: Data = json.loads(path.read_text()) if path.exists() else {"data": empty, "answers": {}}

    def data(self) -> Data:
        """Return a copy of the data."""
        with self._lock:
            return copy.deepcopy(self._all["data"])

    def change(self, act: Act, body: Data, *, key: str | None, undo_key: str | None) -> tuple[int, Data]:
        """Act once per key and return status and answer; a refusal changes nothing and is not remembered."""
        with self._lock:
            known = self._all["answers"].get(key)
            if known:
                return known["status"], known["answer"]
            after = copy.deepcopy(self._all)
            try:
                answer = act(after["data"], body)
            except Conflict as exc:
                return 409, {"error": str(exc)}
            except (AttributeError, KeyError, TypeError, ValueError) as exc:
                return 400, {"error": f"malformed request: {type(exc).__name__} {exc}"}
            if key:
                after["answers"][key] = {"status": 200, "answer": answer}
            if undo_key:
                after["answers"].setdefault(undo_key, {"status": 409, "answer": {"error": "this was undone before it arrived"}})
            self._save(after)
            return 200, answer

    def _save(self, after: Data) -> None:
        for oldest in list(after["answers"])[:-MAX_ANSWERS]:
            del after["answers"][oldest]
        draft = self._path.with_suffix(".tmp")
        draft.write_text(json.dumps(after, indent=1))
        draft.replace(self._path)
        self._all = after


def serve(name: str, acts: dict[str, Act], empty: Data) -> None:
    """Answer `POST <path>` by the acts, `GET /health` and `GET /state`, on 127.0.0.1 until the process ends."""
    parser = argparse.ArgumentParser(description=f"the demo's {name} service")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    handler = type("Handler", (_Handler,), {"service": name, "acts": acts, "state": State(given.state, empty)})
    ThreadingHTTPServer(("127.0.0.1", given.port), handler).serve_forever()


class _Handler(BaseHTTPRequestHandler):
    service: str
    acts: dict[str, Act]
    state: State
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; together with delayed ACKs they would cost 40 ms
    timeout = 60

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {"status": "healthy", "service": self.service})
        elif self.path == "/state":
            self._answer(200, self.state.data())
        else:
            self._answer(404, {"error": f"no such path: {self.path}"})

    def do_POST(self) -> None:
        act, body = self.acts.get(self.path), self._body()
        if body is None:
            self.close_connection = True
            self._answer(400, {"error": f"the body must be a JSON object of at most {MAX_BODY_BYTES} bytes"})
        elif act is None:
            self._answer(404, {"error": f"no such path: {self.path}"})
        else:
            keys = {"key": self.headers.get("Idempotency-Key"), "undo_key": self.headers.get("X-Hub-Undo-Key")}
            self._answer(*self.state.change(act, body, **keys))

    def _body(self) -> Data | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return None
        try:
            body = json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError:
            return None
        return body if isinstance(body, dict) else None

    def _answer(self, status: int, answer: Data) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
