"""Make Django ready in a plain script, so that a layer can use the hub's Python face without knowing Django."""

from __future__ import annotations

import os

import django
from django.apps import apps


def ensure_django() -> None:
    """Set Django up once with the hub's settings, unless the caller's own project did."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
    if not apps.ready:
        django.setup()
