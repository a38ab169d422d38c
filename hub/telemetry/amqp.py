"""What a task message says about its arguments in clear: Flower and every listener to task events show it."""

from __future__ import annotations

from functools import cache
from typing import Any

from celery.app.amqp import AMQP
from celery.utils.saferepr import saferepr

from hub.telemetry.redaction import Redactor
from hub.telemetry.secrets import known_secrets


class RedactingAMQP(AMQP):  # type: ignore[misc]  # Celery has no types
    """Celery's message builder, with secrets taken out of ``argsrepr`` and ``kwargsrepr``.

    A signal would come too late: the event that a task was sent is made together with the message.
    """

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
        shown_args = argsrepr or saferepr(_redactor().value(list(args or ())), self.argsrepr_maxsize)
        shown_kwargs = kwargsrepr or saferepr(_redactor().value(dict(kwargs or {})), self.kwargsrepr_maxsize)
        return super().as_task_v2(task_id, name, args, kwargs, *rest, argsrepr=shown_args, kwargsrepr=shown_kwargs, **options)


@cache
def _redactor() -> Redactor:
    return Redactor(known_secrets())
