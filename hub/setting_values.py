"""What the text of a setting may be. Each rule returns the value, or raises `ValueError` without repeating it: it may be a secret."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

_HOST_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z_]([a-z0-9_-]*[a-z0-9_])?\.?")


def redis_address(value: str) -> str:
    """Take the address of a Redis, or nothing."""
    return _address(value, ("redis", "rediss", "unix"), "redis://:password@host:6379/0")


def database_address(value: str) -> str:
    """Take the address of a Postgres or a SQLite file, or nothing."""
    return _address(value, ("postgres", "postgresql", "sqlite"), "postgres://user:password@host:5432/name or sqlite:////a/file")


def log_level(value: str) -> str:
    """Take the name of a level of Python's logging, in any case."""
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return value.upper()


def log_format(value: str) -> str:
    """Take the name of a formatter."""
    if value not in ("text", "json"):
        raise ValueError("must be 'text' or 'json'")
    return value


def allow_list(value: str) -> str:
    """Take networks and host names, comma-separated: a mistyped network would stand as a name that no host has."""
    for item in filter(None, (part.strip().lower() for part in value.split(","))):
        if not _HOST_NAME.fullmatch(item) and not _is_network(item):
            raise ValueError("must be networks and host names such as 10.0.0.0/8, *.svc.cluster.local")
    return value


def certificates(value: str) -> str:
    """Take a file of certificates, or a folder of them, that is there and can be read."""
    try:
        if value and not Path(value).is_dir():
            ssl.create_default_context(cafile=value)
    except OSError as exc:  # an SSLError is one
        raise ValueError(f"must be a file of certificates in PEM: {exc.strerror or 'there is none in it'}") from None
    return value


def credentials(value: str) -> str:
    """Take a JSON object of texts, or nothing."""
    try:
        found = json.loads(value) if value else {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError('must be JSON such as {"L02_runtime": "Bearer ..."}')
    return value


def _address(value: str, schemes: tuple[str, ...], such_as: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port  # reading it checks it
    except ValueError:
        parts = None
    if value and (parts is None or parts.scheme not in schemes):
        raise ValueError(f"must be an address such as {such_as}, with special characters of a password as %40")
    return value


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
