"""What the console does by the clock."""

from contextlib import suppress

from celery import shared_task
from celery.signals import beat_init
from kombu.exceptions import OperationalError

from hub.celery import CONTROL
from hub.console import audit
from hub.console.bulk import operations
from hub.telemetry import readers


@shared_task(name="hub.control.prune_operator_actions", ignore_result=True)
def prune_operator_actions() -> None:
    audit.prune()
    operations.prune()


@shared_task(name="hub.control.ask_readers", ignore_result=True)
def ask_readers() -> None:
    readers.ask()


@beat_init.connect
def _ask_at_once(**_: object) -> None:
    """Let nobody see "beat does nothing" for the first 15 s of a beat; a broker that is away is beat's to report."""
    with suppress(OperationalError):
        ask_readers.apply_async(queue=CONTROL)


@shared_task(name="hub.control.run_batch", ignore_result=True)
def run_batch(operation_id: str) -> None:
    operations.step(operation_id)


@shared_task(name="hub.control.sweep_batches", ignore_result=True)
def sweep_batches() -> None:
    operations.sweep()
