"""What beat goes by: the table of django-celery-beat, into which each start writes what this code asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_celery_beat.schedulers import DatabaseScheduler


class WrittenSchedule(DatabaseScheduler):  # type: ignore[misc]  # it has no types
    """A schedule that ends beat when it cannot be written, so that whoever keeps it running starts it again."""

    def update_from_dict(self, mapping: Mapping[str, Mapping[str, Any]]) -> None:
        """Write these entries and go by them. The base class logs what fails and goes on without, for as long as beat lives."""
        entries = {name: self.Entry.from_entry(name, app=self.app, **entry) for name, entry in mapping.items()}
        self.schedule.update({name: entry for name, entry in entries.items() if entry.model.enabled})
