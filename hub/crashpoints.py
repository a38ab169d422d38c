"""Named places where a test may end the process as `kill -9` would; no cost unless ``HUB_CRASH_POINT`` is set.

``HUB_CRASH_POINT=name`` or ``name:3`` (the third time). With ``HUB_CRASH_FILE`` the process dies only if it can make that
file, so that of many workers exactly one dies, once.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "accept.before_commit",
    "accept.after_commit",
    "chain.before_send",
    "chain.after_send",
    "saga.before_commit",
    "saga.after_commit",
    "claim.after",
    "call.before",
    "call.after",
    "layer.before_send",
    "layer.after_send",
    "result.after",
    "link.after",
)

_name, _, _nth = os.environ.get("HUB_CRASH_POINT", "").partition(":")
_armed = bool(_name)
_seen = 0


def _pass(name: str) -> None:
    """Do nothing: no crash point is armed."""


def _maybe_die(name: str) -> None:
    global _seen
    if name != _name:
        return
    _seen += 1
    if _seen == int(_nth or 1) and _first():
        os.kill(os.getpid(), signal.SIGKILL)


def _first() -> bool:
    path = os.environ.get("HUB_CRASH_FILE")
    if not path:
        return True
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


crash_point = _maybe_die if _armed else _pass
"""Call it with the name of the place."""
