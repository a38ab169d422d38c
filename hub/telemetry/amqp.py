"""What Celery says of tasks in clear, in messages and in events: Flower and every other listener show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery.app.amqp import AMQP
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from celery.events.receiver import EventReceiver
from celery.utils.saferepr import saferepr

from hub.hints import HintingConnection
from hub.telemetry.secrets import redactor


class RedactingAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's message builder, with secrets taken out of ``argsrepr`` and ``kwargsrepr``.

    A signal would come too late: the event that a task was sent is made together with the message.
    """

    Connection = HintingConnection

    def as_task_v2(
        self,
        task_id: str,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        *rest: Any,
        argsrepr: str | None = None,
        kwargsrepr: str | None = None,
        **options: Any,
    ) -> Any:
        """Build a message; the arguments themselves are left as they are."""
        shown_args = argsrepr or saferepr(redactor().value(list(args or ())), self.argsrepr_maxsize)
        shown_kwargs = kwargsrepr or self.shown(kwargs)
        return super().as_task_v2(task_id, name, args, kwargs, *rest, argsrepr=shown_args, kwargsrepr=shown_kwargs, **options)

    def shown(self, kwargs: Mapping[str, Any] | None) -> str:
        """Return what Flower is to show of a task's arguments."""
        return str(saferepr(redactor().value(dict(kwargs)), self.kwargsrepr_maxsize)) if kwargs else "{}"


SHOWN = ("args", "kwargs", "result", "exception", "traceback")


class RedactingDispatcher(EventDispatcher):  # type: ignore[misc]
    """Celery's sender of events, with secrets taken out of results, errors and arguments."""

    def send(self, type: str, *rest: Any, **fields: Any) -> Any:
        """Send an event."""
        return super().send(type, *rest, **without_secrets(fields))


class RedactingReceiver(EventReceiver):  # type: ignore[misc]
    """Celery's reader of events, for Flower: a layer's own worker tells of its tasks as it likes."""

    def event_from_message(self, *args: Any, **options: Any) -> Any:
        """Return the type and the fields of an event that came."""
        type, fields = super().event_from_message(*args, **options)
        return type, without_secrets(fields)


class RedactingEvents(Events):  # type: ignore[misc]
    """Celery's events with that sender."""

    dispatcher_cls = RedactingDispatcher


def without_secrets(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields with their texts redacted."""
    return {name: redactor().text(value) if name in SHOWN and isinstance(value, str) else value for name, value in fields.items()}
