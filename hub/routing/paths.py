"""Paths that cannot leave the registered base of a service (pure).

A path is judged decoded as often as any proxy on the way might decode it, and the finished URL is compared with the
endpoint once more: two parsers that disagree are how a request ends at another host.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from hub.errors import ErrorCode, IntegrationError

MAX_PATH_BYTES = 2_048
MAX_DECODINGS = 4

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\\#\u2028\u2029]")
_UNSAFE_DECODED = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "/%:@!$&'()*+,;=~-._"
_SAFE_IN_QUERY = _SAFE + "?"


def check_path(path: str) -> str:
    """Return the path, with its query if it has one, percent-encoded.

    Errors: E11380 when it would leave the base (absolute URL, ``//host``, dot segments in any encoding), E11302 otherwise.
    """
    if _ABSOLUTE.match(path) or path.startswith("//"):
        raise _escapes(path)
    if not path.startswith("/") or _UNSAFE.search(path) or _BAD_ESCAPE.search(path):
        raise _invalid(path)
    bare, mark, query = path.partition("?")
    _check_decoded(bare)
    try:
        target = quote(bare, safe=_SAFE) + mark + quote(query, safe=_SAFE_IN_QUERY)
    except UnicodeEncodeError:
        raise _invalid(path) from None
    if len(target) > MAX_PATH_BYTES:
        raise _invalid(path)
    return target


def join(endpoint: str, target: str) -> str:
    """Return the URL of `target` below `endpoint`; E11380 if it is not there after all."""
    url = endpoint.rstrip("/") + target
    base, whole = urlsplit(endpoint), urlsplit(url)
    stays = (whole.scheme, whole.netloc) == (base.scheme, base.netloc) and whole.path.startswith(base.path.rstrip("/") + "/")
    if not stays or "@" in whole.netloc:
        raise _escapes(target)
    return url


def _check_decoded(bare: str) -> None:
    text = bare
    for _ in range(MAX_DECODINGS):
        if any(segment.partition(";")[0] in (".", "..") for segment in text.split("/")):
            raise _escapes(bare)
        decoded = unquote(text)
        if decoded == text:
            return
        if decoded.startswith("//"):
            raise _escapes(bare)
        if _UNSAFE_DECODED.search(decoded):
            raise _invalid(bare)
        text = decoded
    raise _invalid(bare)


def _invalid(path: str) -> IntegrationError:
    return IntegrationError(ErrorCode.PATH_INVALID, f"{ErrorCode.PATH_INVALID.text}, not {path!r:.80}")


def _escapes(path: str) -> IntegrationError:
    return IntegrationError(
        ErrorCode.PATH_ESCAPES_BASE, f"path leaves the registered base: {path!r:.80}", recovery_suggestion="send a path such as /execute"
    )
