"""Named places where a test may end the process as ``kill -9`` would; no cost unless ``HUB_CRASH_DIR`` is set.

That directory holds orders. The file named like a saga's execution id, or ``any``, holds one line, ``point direction step
nth scope``: whoever comes to that point of that step for the nth time while it works on that saga takes the order away and
dies, alone (``process``) or with its whole process group (``group``: a worker with all its children). So exactly one dies,
once. Direction and step are ``-`` where the point cannot know them.

Where ``<execution id>.trace`` exists, every passage is written to it: ``point direction step``. What is done for a child
saga counts as done for its outermost parent, so that one order reaches the whole family; its steps are written as ``+step``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

POINTS: Mapping[str, str] = {
    "accept.version_stored": "the definition's snapshot is stored, the run is not",
    "accept.before_commit": "a new run is written, not committed",
    "accept.after_commit": "a new run is committed, nobody was told",
    "chain.before_send": "the rest of the chain is about to be sent",
    "chain.after_send": "the rest of the chain is with the broker",
    "saga.before_commit": "a change of a run is about to be committed",
    "saga.after_commit": "a change of a run is committed, nothing followed yet",
    "lock.before_commit": "the locks of a run are written, not committed",
    "lock.after_commit": "a run has its locks, its first step is not claimed",
    "slot.after_commit": "an undo has its slot, and is not claimed",
    "signal.before": "a signal, or an event that runs wait for, has come; nothing is written",
    "signal.after": "a signal is worked in and the rest of the chain is sent, its sender was not told",
    "claim.after": "a step is claimed, its call has not begun",
    "call.before": "the call is about to begin",
    "call.after": "the call has ended, nothing is recorded",
    "layer.before_send": "a layer's task is about to be sent",
    "layer.after_send": "a layer's task is with the broker",
    "result.after": "how the call ended is recorded",
    "note.before_commit": "the note of a late reply is written, not committed",
    "note.after_commit": "the note of a late reply is committed",
    "link.after": "the link has ended, the next one is not sent",
    "link.before_send": "the next link, or the error callback, is about to be sent",
    "link.after_send": "the next link, or the error callback, is with the broker",
    "aside.before_commit": "a run that cannot be swept is put aside, not committed",
    "aside.after_commit": "a run that cannot be swept is put aside, others wait for the rest of the sweep",
    "prune.before_commit": "a batch of old runs is deleted, not committed",
    "prune.after_commit": "a batch of old runs is deleted, more may be left",
}
"""Every commit and every send of a saga, just before and just after it: the point's name and what stands there."""

ANY = "any"
_TAKEN = ".taken"
_FAMILY = ".family"

_orders = Path(os.environ["HUB_CRASH_DIR"]) if os.environ.get("HUB_CRASH_DIR") else None


def _pass(point: str, execution_id: object = "", direction: str = "", step: int | None = None) -> None:
    """Do nothing: no test runs."""


def _obey(point: str, execution_id: object = "", direction: str = "", step: int | None = None) -> None:
    if _orders is None:
        return
    own = str(execution_id)
    eldest = _eldest(_orders, own)
    place = "-" if step is None else step if eldest == own else f"+{step}"
    passage = f"{point} {direction or '-'} {place}"
    for name in filter(None, (eldest, ANY)):
        _trace(_orders / f"{name}.trace", f"{passage}\n")
        _look(_orders / name, passage)


def _eldest(orders: Path, execution_id: str) -> str:
    try:
        return (orders / f"{execution_id}{_FAMILY}").read_text()
    except FileNotFoundError:
        return execution_id


def _adopt(child: object, parent: object) -> None:
    """Let what is done for a child count as done for its outermost parent."""
    if _orders is not None:
        (_orders / f"{child}{_FAMILY}").write_text(_eldest(_orders, str(parent)))


def _leave(child: object, parent: object) -> None:
    """Do nothing: no test runs."""


def _trace(path: Path, line: str) -> None:
    with suppress(FileNotFoundError):
        book = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(book, line.encode())
        os.close(book)


def _look(order: Path, passage: str) -> None:
    try:
        wanted, nth, scope = order.read_text().rsplit(maxsplit=2)
    except (FileNotFoundError, ValueError):
        return
    if wanted != passage:
        return
    if int(nth) > 1:
        order.write_text(f"{wanted} {int(nth) - 1} {scope}")
        return
    with suppress(FileNotFoundError):  # somebody else took it
        taken = order.rename(f"{order}{_TAKEN}")
        os.utime(taken)  # when somebody died
        _die(scope)


def _die(scope: str) -> None:
    if scope == "group":
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


adopt = _adopt if _orders else _leave
"""Call it with the ids of a child saga and its parent, before the child passes its first point."""
crash_point = _obey if _orders else _pass
"""Call it with the name of the place and, where they are known, the saga, the direction and the index of the step."""
