"""Handlers that workers know by name: ``@event_handler("billing.on_agent_created")`` in an app's ``event_handlers.py``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import apps

from hub.errors import ErrorCode, IntegrationError
from hub.events.messages import EventMessage

EventHandler = Callable[[EventMessage], Any]
MODULE = "event_handlers"
_handlers: dict[str, EventHandler] = {}


def event_handler(name: str) -> Callable[[EventHandler], EventHandler]:
    """Register the function below under `name`, so that a durable subscription can deliver to it on any worker."""

    def register(function: EventHandler) -> EventHandler:
        if _handlers.get(name, function).__qualname__ != function.__qualname__:
            raise IntegrationError(ErrorCode.CONFLICT, f"two event handlers are named {name!r}")
        _handlers[name] = function
        return function

    return register


def find(name: str) -> EventHandler:
    """Return the handler of that name; E11431 when this code base has none, which another version may have."""
    if name not in _handlers:
        raise IntegrationError(ErrorCode.TASK_UNKNOWN, f"no event handler is named {name!r} in this process")
    return _handlers[name]


def is_known(name: str) -> bool:
    """Tell whether workers have a handler of that name."""
    return name in _handlers


def load() -> None:
    """Import ``event_handlers.py`` of every installed app."""
    for config in apps.get_app_configs():
        if find_spec(f"{config.name}.{MODULE}"):
            import_module(f"{config.name}.{MODULE}")
