"""Make, check and revoke tokens: ``hub_<prefix>_<secret>``, the secret being 32 random bytes.

A fast digest is enough: nobody guesses 256 bits, and a slow one would let strangers keep the processors busy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from hub.api.models import ApiToken
from hub.api.scopes import Scope
from hub.errors import ErrorCode, IntegrationError

MAX_TOKENS = 1_000
MAX_DAYS = 3_650
DEFAULT_DAYS = 365
KEPT_DAYS = 90
"""How long a token that expired or was revoked is still shown."""
USE_NOTED_EVERY = timedelta(minutes=1)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@ -]{0,63}")
_TEXT = re.compile(r"hub_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"").hexdigest()


def create(name: str, scopes: Iterable[str], *, by: str, days: float = DEFAULT_DAYS) -> tuple[ApiToken, str]:
    """Make a token; return it and its text, which is kept nowhere.

    Errors: E11902 for a malformed name, an unknown scope, none at all, or a life of more than ten years; E11921 the
    name is taken, E11962 there are too many.
    """
    found = check(name, scopes, days)
    prune()
    if ApiToken.objects.count() >= MAX_TOKENS:
        raise IntegrationError(ErrorCode.QUOTA_USED_UP, f"there are {MAX_TOKENS} tokens", recovery_suggestion="revoke some")
    secret, prefix = secrets.token_urlsafe(32), secrets.token_hex(4)
    ends = timezone.now() + timedelta(days=days)
    try:
        with transaction.atomic():
            row = ApiToken.objects.create(
                name=name, prefix=prefix, digest=_digest(secret), scopes=found, expires_at=ends, created_by=by[:150]
            )
    except IntegrityError:
        raise IntegrationError(ErrorCode.CONFLICT, f"a token is named {name!r} already", recovery_suggestion="use another name") from None
    return row, f"hub_{prefix}_{secret}"


def check(name: object, scopes: Iterable[str], days: float) -> list[str]:
    """Return the scopes in their usual order; refuse what `create` refuses for its form."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"token name {str(name)[:80]!r} must match {_NAME.pattern}")
    wanted = set(scopes)
    if unknown := sorted(wanted - set(Scope)):
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"no scope {unknown[0][:40]!r} (there are: {', '.join(Scope)})")
    if not wanted:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, "a token needs a scope")
    if not 0 < days <= MAX_DAYS:
        raise IntegrationError(ErrorCode.ARGUMENT_TYPE, f"a token lives up to {MAX_DAYS} days, not {days:g}")
    return [scope.value for scope in Scope if scope in wanted]


def authenticate(text: str) -> ApiToken:
    """Return the token of this text; E11981 for one that nobody made, E11982 for one that expired or was revoked.

    A wrong prefix and a wrong secret take the same steps, so that neither the answer nor its time tells them apart.
    """
    found = _TEXT.fullmatch(text)
    prefix, secret = found.groups() if found else ("", "")
    row = ApiToken.objects.filter(prefix=prefix).first()
    is_right = hmac.compare_digest(_digest(secret), row.digest if row else _NOBODY)
    if row is None or not is_right:
        raise IntegrationError(ErrorCode.AUTHENTICATION_FAILED, "the token is not known")
    if not row.is_valid:
        raise IntegrationError(ErrorCode.TOKEN_EXPIRED, "the token expired or was revoked", recovery_suggestion="ask for a new one")
    _note_use(row, timezone.now())
    return row


def _note_use(row: ApiToken, now: datetime) -> None:
    """Write down that it was used, at most once a minute: a busy token must not cost an update per call."""
    before = now - USE_NOTED_EVERY
    if row.last_used_at is None or row.last_used_at < before:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=before)
        ApiToken.objects.filter(stale, pk=row.pk).update(last_used_at=now)


def revoke(name: str) -> ApiToken:
    """End a token at once; harmless when it has ended. E11920 when there is none of this name."""
    ApiToken.objects.filter(name=name, revoked_at=None).update(revoked_at=timezone.now())
    row = ApiToken.objects.filter(name=name).first()
    if row is None:
        raise IntegrationError(ErrorCode.NOT_FOUND, f"no token is named {name[:80]!r}")
    return row


def prune() -> int:
    """Delete tokens that ended long ago; return how many."""
    before = timezone.now() - timedelta(days=KEPT_DAYS)
    return ApiToken.objects.filter(Q(expires_at__lt=before) | Q(revoked_at__lt=before)).delete()[0]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
