"""Flower's configuration (``--conf``): it reads task events without the secrets that layers' own workers tell.

Flower names Celery's reader of events itself, and keeps what it read in a file: so the reader is replaced, not the pages.
"""

from __future__ import annotations

from flower import events

from hub.telemetry.amqp import RedactingReceiver

events.EventReceiver = RedactingReceiver
