"""What the console does by the clock."""

from celery import shared_task

from hub.console import audit
from hub.telemetry import readers


@shared_task(name="hub.control.prune_operator_actions", ignore_result=True)
def prune_operator_actions() -> None:
    audit.prune()


@shared_task(name="hub.control.ask_readers", ignore_result=True)
def ask_readers() -> None:
    readers.ask()
