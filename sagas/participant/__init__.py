"""For layers on Django whose tasks are steps of sagas: business changes happen exactly once.

Add ``"sagas.participant"`` to INSTALLED_APPS, migrate, and put `saga_participant` under the task's decorator:

    @shared_task(name="l03.reserve")
    @saga_participant
    def reserve(context): ...

    @shared_task(name="l03.release")
    @saga_participant(undo=True)
    def release(context, output=None): ...

Nothing but the task's message is needed: the hub sends ``context["_saga"]`` with every step.
"""

from __future__ import annotations

from typing import Any

__all__ = ["saga_participant"]


def __getattr__(name: str) -> Any:
    if name == "saga_participant":  # loaded late: models need Django's apps, this package is imported before they are ready
        from sagas.participant.barrier import saga_participant

        return saga_participant
    raise AttributeError(f"module 'sagas.participant' has no attribute {name!r}")
