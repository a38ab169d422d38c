"""Take secrets out of what is stored or logged: by key name, by known value, by shape (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from hub.json_values import SEALED

REDACTED = "[redacted]"
MIN_SECRET_LENGTH = 6
MAX_DEPTH = 64
REMEMBERED_LENGTH = 64
"""Names of fields are few and the same ones again; a longer one is no name, and is not kept in memory."""

_SECRET_KEY = re.compile(
    r"passw|passphrase|passcode|secret|token|(?:api|access|private|signing|encryption)[-_. ]?key"
    r"|authori[sz]ation|cookie|credential|session[-_.]?(id|key)|^auth$|^pwd$|^pin$|card[-_.]?number|^cvv?c?$|^iban$|^ssn$",
    re.IGNORECASE,
)
# The names of these end like a secret, but say where the secret is not.
_HARMLESS_KEY = re.compile(r"(token_count|tokens?_(used|total|limit)|max_tokens|token_type|(prompt|completion)_tokens)$", re.IGNORECASE)
_NAMES = (
    r"(?:passw\w{0,20}|passphrase|passcode|secrets?|(?:api|access|private|signing|encryption)[-_. ]?keys?|tokens?"
    r"|credentials?|authori[sz]ation|cookies?|session[-_.]?(?:id|key)|\b(?:auth|pwd|pin|cvv|cvc|iban|ssn|card[-_.]?number))"
)
_QUOTED = r"b?\"(?:[^\"\\]|\\[\s\S])*(?:\"|\\?\Z)|b?'(?:[^'\\]|\\[\s\S])*(?:'|\\?\Z)"
_PARAMETER = r"[\w-]{1,60}=(?:\"[^\"\n]*\"|[^\s,\"']+)"
# None of these may begin at each letter of a long run and read on to its end: a payload has up to a megabyte.
_SHAPES = (
    (re.compile(r"\b(bearer|basic|token)\s+[a-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"(://)(?:[^\s/:@]*:[^\s/@]+|[^\s/:@]{20,})@"), rf"\1{REDACTED}@"),
    (re.compile(r"(%3A%2F%2F)[^\s/:@%]{0,200}%3A[^\s/:@]{1,200}?%40", re.IGNORECASE), rf"\1{REDACTED}%40"),  # the same inside of an address
    (re.compile(r"\bhub_[0-9a-f]{8}_[\w-]{20,}"), REDACTED),  # a token of the hub's own API
    # Keys that say what they are: of model providers, Stripe, GitHub, GitLab, Slack, AWS, Google and Hugging Face.
    (
        re.compile(
            r"\b(?:sk-[\w-]{32,}|[sr]k_(?:live|test)_\w{10,}|gh[pousr]_\w{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}"
            r"|(?:AKIA|ASIA)[A-Z0-9]{16}\b|AIza[\w-]{30,}|hf_\w{30,})"
        ),
        REDACTED,
    ),
    (re.compile(r"\beyJ[\w-]{8,500}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), REDACTED),
    # All that follows the scheme, and the cookies after the first.
    (
        re.compile(rf"(authori[sz]ation\s*[=:]\s*)[a-z][\w-]*[ \t]+(?:{_PARAMETER}(?:,[ \t]*{_PARAMETER})*|[^\s\"',;]+)", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(r"(cookies?\s*[=:]\s*)[^\s=:;,\"']{1,60}=[^\s;,\"']*(?:;[ \t]*[^\s=:;,\"']{1,60}=[^\s;,\"']*)*", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # Pairs, and options of a command.
    (
        re.compile(
            rf"([\[(]\s*b?(\\{{0,8}}[\"'])[\w.-]{{0,40}}{_NAMES}[\w.-]{{0,40}}\2\s*,\s*)(?:{_QUOTED}|b?\2(?:(?!\2).)*\2)(?=\s*[\])]|\Z)",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(rf"((?<![\w-])--?[\w-]{{0,40}}{_NAMES}[\w-]{{0,40}}[ \t]+)(?:{_QUOTED}|[^\s-]\S*)", re.IGNORECASE), rf"\1{REDACTED}"),
    # password=..., "api_key": "..." inside of a longer text, such as an error message or the repr of arguments; its value may be
    # the repr of a text, of bytes, or of a list. A quote that does not end was cut, and hides all that follows.
    (
        re.compile(
            rf"({_NAMES}(?:\\{{0,8}}[\"'])?\s*(?:=>?|:|%(?:25)?3[ad]|\\u003d)\s*)"
            rf"({_QUOTED}"
            # The same inside of a text that is quoted itself, with its quotes escaped.
            r"|b?(?P<quote>\\{1,8}[\"'])(?:(?!(?<!\\)(?P=quote))[\s\S])*(?:(?P=quote)|\Z)"
            r"|[\[({][^\])}]{0,2000}[\])}]?|[^\s,;&)\]}]+)",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
)
# One search that nearly every harmless text fails, instead of five replacements that change nothing. Ignoring case costs six times
# as much as a text in small letters, which outside of ASCII are not the same.
_WORDS = (
    r"b(?:earer|asic)|token|p(?:ass[wpc]|wd|in\\*[\"']?\s*[=:])|s(?:ecret|ession|sn)|key|c(?:redential|ookie|v[vc]|ard.?num)"
    r"|auth|://|%3a%2f%2f|eyj|iban|hub_[0-9a-f]{8}_"
    r"|[sr]k[-_][\w-]{10}|gh[pousr]_|github_pat|glpat-|xox[abeoprs]-|a[ks]ia[a-z0-9]{16}|aiza|hf_\w{9}"
)
_SUSPICIOUS_IN_ASCII = re.compile(_WORDS)
_SUSPICIOUS = re.compile(_WORDS, re.IGNORECASE)

_PLAIN = {str, int, float, bool, type(None)}


class Redactor:
    """Redact values; `secrets` are texts that must not appear anywhere, whatever they are called."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({form for text in secrets if len(text) >= MIN_SECRET_LENGTH for form in _forms(text)}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._remembered = lru_cache(maxsize=4_096)(self.text)

    def value(self, value: Any, *, key: str = "", depth: int = 0) -> Any:
        """Return `value` with every secret replaced; containers are copied, never changed."""
        if is_sealed(value) or (key and is_secret_key(key)):
            return REDACTED
        if isinstance(value, str):
            return self.text(value)
        if depth >= MAX_DEPTH:
            return REDACTED
        if isinstance(value, Mapping):
            # Maps by address or by message have a secret in a name.
            return {self._name(name): self.value(item, key=key_of(name, value), depth=depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, key=key, depth=depth + 1) for key, item in with_keys(value)]
        return value

    def _name(self, name: Any) -> Any:
        if name is None or isinstance(name, int | float):
            return name
        text = str(name)  # JSON has no other names, such as pairs
        return self._remembered(text) if len(text) <= REMEMBERED_LENGTH else self.text(text)

    def text(self, text: str) -> str:
        """Return `text` without known secrets and without what has the shape of one."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if not _is_suspicious(text):
            return text
        for pattern, replacement in _SHAPES:
            text = pattern.sub(replacement, text)
        return text

    def passes(self, fields: Mapping[str, Any], *texts: str) -> bool:
        """Tell, at one glance, that there is nothing to hide in plain fields and texts; False may be wrong.

        Most of what is stored has no secrets: to look at all its texts together costs a third of replacing nothing in each.
        """
        kinds = set(map(type, fields.values()))
        if not kinds <= _PLAIN or any(map(is_secret_key, fields)):
            return False
        together = "\n".join([*texts, *fields, *(value for value in fields.values() if type(value) is str)])
        return not _is_suspicious(together) and (self._known is None or not self._known.search(together))

    def hides(self, text: str) -> bool:
        """Tell whether there is something to hide in a text."""
        return self.text(text) != text


def key_of(name: Any, fields: Mapping[Any, Any]) -> str:
    """Return what says of a field whether it is a secret: its name, of ``{"name": "X-Api-Key", "value": ...}`` the name in it."""
    told = (fields.get("name") or fields.get("key")) if name == "value" else None
    return told if isinstance(told, str) else str(name)


def with_keys(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the items of a list, each with its name if it has one: a pair its first half, a value the option ``--...`` before it."""
    before = ""
    for item in items:
        is_pair = isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[0], str)
        yield item[0] if is_pair else before, item
        before = item if isinstance(item, str) and item.startswith("--") and "=" not in item else ""


def _forms(secret: str) -> set[str]:
    """Return a secret as it may be written: as it is, in an address, in JSON."""
    return {secret, quote(secret, safe="", errors="replace"), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}


def _is_suspicious(text: str) -> bool:
    return bool(_SUSPICIOUS_IN_ASCII.search(text.lower()) if text.isascii() else _SUSPICIOUS.search(text))


def is_sealed(value: Any) -> bool:
    """Tell whether `value` stands for a sealed one."""
    return isinstance(value, dict) and len(value) == 1 and SEALED in value


def is_secret_key(key: str) -> bool:
    """Tell whether a field of this name holds a secret."""
    return _judged(key) if len(key) <= REMEMBERED_LENGTH else _judge(key)


def _judge(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


_judged = lru_cache(maxsize=4096)(_judge)
