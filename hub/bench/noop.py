"""A task of the hub's own app that does nothing; the bench has its worker load it."""

from __future__ import annotations

from hub.celery import app

NAME = "hub.bench.nothing"


@app.task(name=NAME)  # type: ignore[untyped-decorator]  # Celery has no types
def nothing() -> None:
    """Do nothing."""
