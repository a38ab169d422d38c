"""Who may come in: bearer tokens only, each with its scopes and its share of the minute. Cookies are never looked at."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.security.base import AuthBase

from hub.api import tokens
from hub.api.models import ApiToken
from hub.api.scopes import Scope
from hub.circuits.fleet import fleet
from hub.errors import ErrorCode, IntegrationError
from hub.redis_client import client
from hub.telemetry import metrics


class Bearer(AuthBase):
    """Ninja's guard of one operation."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> ApiToken:
        """Return the caller's token; E11980 without one, E11981, E11982, E11961 too many calls, E11983 it lacks the scope."""
        token = tokens.authenticate(_text_of(request.headers.get("Authorization", "")))
        _count(token, int(time.time()))
        if self.scope not in token.scopes:
            raise IntegrationError(ErrorCode.SCOPE_MISSING, f"token {token.name} lacks the scope {self.scope}")
        return token


def actor(request: HttpRequest) -> str:
    """Return the name under which is written down what this request does."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]  # set by ninja, from the guard
    return token.name


def _text_of(header: str) -> str:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer":
        raise IntegrationError(
            ErrorCode.AUTHENTICATION_MISSING, "no token", recovery_suggestion="send the header Authorization: Bearer hub_..."
        )
    return text.strip()


def _count(token: ApiToken, now: int) -> None:
    """Count a call; E11961 above the limit. Without Redis every call goes through: the limit protects, it does not decide."""
    limit = settings.HUB.api_max_per_min
    calls = fleet().reach(lambda: _add_one(f"hub:api:calls:{token.pk}:{now // 60}"))
    if calls is None:
        metrics.increment("hub_api_calls_uncounted_total")
    elif calls > limit:
        raise IntegrationError(
            ErrorCode.RATE_LIMITED, f"token {token.name} made more than {limit} calls this minute", {"retry_after_sec": 60 - now % 60}
        )


def _add_one(key: str) -> int:
    with client().pipeline(transaction=False) as pipe:
        pipe.incr(key)
        pipe.expire(key, 120)
        found: list[Any] = pipe.execute()
    return int(found[0])
