"""A book of effects for the fakes behind a saga's steps: on disk before it answers, so that no kill can hide an effect.

`act_once` is a service that honours the idempotency key, `act` one that does not. Both take the context that the hub
gave to the step. A book is one file per saga, so its order is the order of effects.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

Verdict = Literal["apply", "replay", "reject"]
Line = dict[str, Any]
"""One line: ``ev`` (recv, apply, replay, reject), ``key``, ``saga``, ``step``, ``kind`` (action, comp)."""


def act_once(context: dict[str, Any]) -> bool:
    """Act unless the key was seen before, or the step was undone already; return whether the call is good.

    An action that comes after its own undo is turned away (False), as a service that keeps a tombstone would do.
    """
    return _act(context, _judge) != "reject"


def act(context: dict[str, Any]) -> None:
    """Act whatever was before, as a service that ignores the key would do."""
    _act(context, lambda lines, line: "apply")


def read(execution_id: str) -> list[Line]:
    """Return the lines of one saga in order."""
    try:
        return [json.loads(line) for line in _path(execution_id).read_text().splitlines()]
    except FileNotFoundError:
        return []


def _act(context: dict[str, Any], judge: Any) -> Verdict:
    about = context["_saga"]
    key = about["idempotency_key"]
    line = {"key": key, "saga": about["execution_id"], "step": about["step_id"], "kind": "comp" if key.endswith(":undo") else "action"}
    with _locked(about["execution_id"]) as book:
        seen = [json.loads(text) for text in book]
        verdict: Verdict = judge(seen, line)
        book.write("".join(json.dumps({"ev": ev, **line}) + "\n" for ev in ("recv", verdict)))
        book.flush()
        os.fsync(book.fileno())
    return verdict


def _judge(seen: list[Line], line: Line) -> Verdict:
    if line["kind"] == "action" and any(s["step"] == line["step"] and s["kind"] == "comp" for s in seen):
        return "reject"
    return "replay" if any(s["ev"] == "apply" and s["key"] == line["key"] for s in seen) else "apply"


@contextmanager
def _locked(execution_id: str) -> Iterator[IO[str]]:
    path = _path(execution_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        book.seek(0)
        yield book


def _path(execution_id: str) -> Path:
    return Path(os.environ["HUB_TESTING_DIR"]) / "book" / f"{execution_id}.jsonl"
