"""What a rig's processes load besides the hub: crash points around Celery's own sends, and the saga that is turned back.

``HUB_TESTING_SAGA`` names the saga under test as ``package.module:name``.
"""

from __future__ import annotations

import os
from typing import Any

from celery.signals import after_task_publish, before_task_publish

from hub.crashpoints import crash_point
from hub.testing.turned_back import load, turned_back


def _before_send(sender: str, body: Any, **_: Any) -> None:
    _pass_point("link.before_send", sender, body)


def _after_send(sender: str, body: Any, **_: Any) -> None:
    _pass_point("link.after_send", sender, body)


def _pass_point(point: str, task: str, body: Any) -> None:
    kwargs = body[1]
    if task.startswith("hub.sagas.") and "execution_id" in kwargs:
        crash_point(point, kwargs["execution_id"], kwargs.get("direction") or "", kwargs.get("index"))


before_task_publish.connect(_before_send)
after_task_publish.connect(_after_send)

if os.environ.get("HUB_TESTING_SAGA"):
    under_test = turned_back(load(os.environ["HUB_TESTING_SAGA"]))
