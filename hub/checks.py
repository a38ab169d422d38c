"""System checks of the hub (`manage.py check`): what is wrong with the settings, and what to do."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register("hub")
def broker_is_redis(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.REDIS_URL.split("://")[0] in ("redis", "rediss", "unix"):
        return []
    return [Error("REDIS_URL is not a redis:// address", hint="Set REDIS_URL=redis://host:6379/0", id="hub.E002")]


@register("hub", deploy=True)
def secret_is_given(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.HUB.secret_key:
        return []
    return [Error("HUB_SECRET_KEY is not set", hint="Give every process the same long random string", id="hub.E001")]


@register("hub", deploy=True)
def database_is_shared(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.HUB.database_url.startswith("postgres"):
        return []
    return [Warning("SQLite serves one machine only", hint="Set DATABASE_URL to Postgres for several", id="hub.W001")]
