"""Make Django ready in a plain script, so that a layer can use the hub's Python face without knowing Django."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.apps import apps

ROOT = str(Path(__file__).resolve().parent.parent)
"""Where the rooms lie beside `hub`."""


def ensure_django() -> None:
    """Set Django up once with the hub's settings, unless the caller's own project did."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
    if not apps.ready:
        # The command `celery` has the working directory on the path only while it imports `hub`, and then takes it off again.
        sys.path.append(ROOT)
        django.setup()
