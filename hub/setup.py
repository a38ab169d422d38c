"""Make Django ready in a plain script, so that a layer can use the hub's Python face without knowing Django."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.apps import apps

from hub.errors import ErrorCode, IntegrationError

ROOT = str(Path(__file__).resolve().parent.parent)
"""Where the rooms lie beside `hub`."""


def ensure_django() -> None:
    """Set Django up once with the hub's settings; E11931 in a process of another Django project, which has tables of its own."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
    if not apps.ready:
        # The command `celery` has the working directory on the path only while it imports `hub`, and then takes it off again.
        sys.path.append(ROOT)
        django.setup()
    if not apps.is_installed("hub"):
        raise IntegrationError(
            ErrorCode.CONFIG_INVALID,
            f"this process runs another Django project, {os.environ['DJANGO_SETTINGS_MODULE']}",
            recovery_suggestion="send tasks or call the HTTP API from it (docs/layers.md), or use hub.IntegrationLayer in another process",
        )
