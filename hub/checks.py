"""System checks of the hub (`manage.py check`): what is wrong with the settings, and what to do."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register("hub")
def flower_is_a_page(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse what would be no link, or would show a password to everybody who sees the console."""
    if not settings.HUB.flower_url or is_page(settings.HUB.flower_url):
        return []
    hint = "Set it to Flower's http:// or https:// address without user, query or fragment, or leave it empty"
    return [Error("HUB_FLOWER_URL is not the address of a page", hint=hint, id="hub.E003")]


def is_page(url: str) -> bool:
    """Tell whether an address is http(s) with a host, and nothing that a path cannot be added to."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and has_host and not (parts.query or parts.fragment or "@" in parts.netloc)


@register("hub", deploy=True)
def secret_is_given(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.HUB.secret_key:
        return []
    return [Error("HUB_SECRET_KEY is not set", hint="Give every process the same long random string", id="hub.E001")]


@register("hub", deploy=True)
def telemetry_has_a_token(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.HUB.telemetry_token:
        return []
    said = "HUB_TELEMETRY_TOKEN is not set: /metrics and /v1/traces answer only this machine, to whoever has an account on it"
    return [Warning(said, hint="Set it, and give it to Prometheus and to the layers' SDKs", id="hub.W002")]


@register("hub", deploy=True)
def database_is_shared(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.HUB.database_url.startswith("postgres"):
        return []
    return [Warning("SQLite serves one machine only", hint="Set DATABASE_URL to Postgres for several", id="hub.W001")]
