"""Write `.env.example` from the settings themselves:  python -m hub.console.env_example > .env.example"""

from __future__ import annotations

import json
import sys
import textwrap
from typing import Any

from pydantic.fields import FieldInfo

from hub.conf import HubSettings

HEAD = """\
# Settings of the hub, with their defaults. Every process must be told the same.
# Made by: python -m hub.console.env_example > .env.example

# Postgres. When unset: that of a running `manage.py up`, else a SQLite file in HUB_VAR_DIR.
# DATABASE_URL=postgres://hub:password@localhost:5432/hub
# Redis or Valkey, 6.2 or newer, with maxmemory-policy noeviction. `manage.py up` starts one when unset.
# REDIS_URL=redis://:password@localhost:6379/0
# For docker compose, which refuses to start without them (and HUB_SECRET_KEY):
# POSTGRES_PASSWORD=
# REDIS_PASSWORD=
# Flower's log-in, user:password.
# FLOWER_BASIC_AUTH=
# Where traces are sent besides the database.
# OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318
"""
ELSEWHERE = frozenset({"redis_url", "database_url"})


def render() -> str:
    """Return the whole file: one line per setting, after a comment where the setting has one."""
    lines = [line for name, field in HubSettings.model_fields.items() if name not in ELSEWHERE for line in _lines(name, field)]
    return "\n".join([HEAD, *lines, ""])


def _lines(name: str, field: FieldInfo) -> list[str]:
    comment = [f"# {line}" for line in textwrap.wrap(field.description or "", 110)]
    return [*comment, f"# HUB_{name.upper()}={_as_text(name, field.default)}"]


def _as_text(name: str, default: Any) -> str:
    if name == "var_dir":
        return "./var"
    return json.dumps(default) if isinstance(default, bool) else str(default)


if __name__ == "__main__":
    sys.stdout.write(render())
