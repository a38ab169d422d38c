"""What beat does for breakers."""

from __future__ import annotations

from celery import shared_task

from hub.circuits import history, services


@shared_task(name="hub.control.circuits_record", ignore_result=True)
def record() -> None:
    """Write transitions into rows, and tell Redis again what it lost of the operators' decisions."""
    history.record_transitions()
    services.restore_lost()


@shared_task(name="hub.control.prune_circuits", ignore_result=True)
def prune() -> None:
    """Delete transitions beyond their retention."""
    history.prune()
