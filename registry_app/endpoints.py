"""Endpoint URLs: what may be registered, read once into parts (pure).

Nothing is repaired: a URL that two parsers could read differently is refused, for a request that goes to another host
than the one that was checked is the hole behind most forged-request attacks.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from hub.errors import ErrorCode, IntegrationError

MAX_URL_LENGTH = 512
DEFAULT_PORTS = {"http": 80, "https": 443}

# Ports of other protocols: an HTTP request sent there is an attack, never a service.
REFUSED_PORTS = frozenset({0, 19, 22, 23, 25, 53, 110, 143, 389, 445, 2375, 3306, 5432, 5672, 6379, 6380, 9092, 11211, 26379, 27017})

_UNSAFE = re.compile(r"[\x00-\x20\x7f-\uffff\U00010000-\U0010ffff\\]")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_QUEUE = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_NODE = re.compile(r"/[A-Za-z0-9_.@-]{1,200}")
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv6 networks whose last 32 bits are an IPv4 address, which a translator, also one inside of the network, connects to.
_WRAPS = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))
# Metadata services of the clouds that lie in ranges which are private rather than link-local.
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("168.63.129.16")})


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a service answers: ``url`` is its one canonical spelling; a ``celery`` endpoint is a queue (and a worker of it), not a host."""

    scheme: str
    host: str
    port: int
    base_path: str = ""

    @property
    def url(self) -> str:
        """Return the canonical URL: no default port, no trailing slash."""
        if self.scheme == "celery":
            return f"celery://{self.host}{self.base_path}"
        port = "" if DEFAULT_PORTS.get(self.scheme) == self.port else f":{self.port}"
        return f"{self.scheme}://{bracketed(self.host)}{port}{self.base_path}"

    @property
    def takes_requests(self) -> bool:
        """Tell whether HTTP requests can be routed here."""
        return self.scheme in DEFAULT_PORTS


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressPolicy:
    """Which addresses the hub may connect to; an allow-list, where given, is the whole truth."""

    allow_private: bool = False
    """Loopback and private networks are allowed: one machine, or a closed network."""
    networks: tuple[Network, ...] = ()
    host_suffixes: tuple[str, ...] = ()
    own_places: frozenset[tuple[str, int]] = frozenset()
    """(host, port) pairs of the hub and its stores: a route to itself would be a loop or a way in."""

    @property
    def has_allow_list(self) -> bool:
        """Tell whether hosts are limited to named networks or names."""
        return bool(self.networks or self.host_suffixes)


def parse_endpoint(url: object, *, schemes: tuple[str, ...] = ("http", "https", "celery")) -> Endpoint:
    """Read a service's endpoint; E11003 to E11006 and E11084 say what is wrong with it."""
    if not isinstance(url, str) or not url or len(url) > MAX_URL_LENGTH or _UNSAFE.search(url):
        raise _invalid(url, ErrorCode.ENDPOINT_INVALID, "send an absolute URL in plain ASCII, such as http://host:8002")
    parts = _split(url)
    if parts.scheme not in schemes:
        raise _invalid(url, ErrorCode.ENDPOINT_SCHEME_REFUSED, f"use one of {', '.join(schemes)}")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        # The URL is not repeated: it holds a password.
        raise IntegrationError(ErrorCode.ENDPOINT_HAS_CREDENTIALS, recovery_suggestion="send credentials as request headers instead")
    if "?" in url or "#" in url:
        raise _invalid(url, ErrorCode.ENDPOINT_HAS_QUERY_OR_FRAGMENT, "register the base URL only")
    return _queue_endpoint(url, parts) if parts.scheme == "celery" else _host_endpoint(url, parts)


def parse_host_port(text: object, *, scheme: str) -> tuple[str, int]:
    """Read ``host:port`` or ``scheme://host:port`` of a TCP or gRPC check; E11803 when it is neither."""
    bare = text.removeprefix(f"{scheme}://") if isinstance(text, str) else ""
    if not bare or _UNSAFE.search(bare) or re.search(r"[/?#@]", bare):
        raise _invalid(text, ErrorCode.CHECK_ENDPOINT_INVALID, f"send host:port or {scheme}://host:port")
    parts = _split(f"{scheme}://{bare}", ErrorCode.CHECK_ENDPOINT_INVALID)
    if not parts.hostname or not parts.port or not _is_host(parts.hostname):
        raise _invalid(text, ErrorCode.CHECK_ENDPOINT_INVALID, f"send host:port or {scheme}://host:port")
    return parts.hostname, parts.port


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def why_refused(address: str, policy: AddressPolicy) -> str | None:
    """Say why the hub must not connect to a resolved address, or return None when it may.

    ``is_global`` decides, not ``is_private``: carrier-grade NAT is neither. IPv4 wrapped in IPv6 is unwrapped first.
    """
    found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    if any(found.version == network.version and found in network for network in policy.networks):
        return None
    if found in _METADATA or found.is_link_local:
        return f"{found} is a link-local or metadata address"
    if found.is_multicast or found.is_unspecified:
        return f"{found} is not the address of a host"
    if found.is_global and not (found.version == 6 and found.is_site_local):
        return None
    if policy.allow_private and (found.is_loopback or (found.is_private and not found.is_reserved)):
        return None
    return f"{found} is loopback, private or reserved"


def _unwrapped(address: Address) -> Address:
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if any(address in network for network in _WRAPS) and not (address.is_loopback or address.is_unspecified):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_listed(host: str, address: str | None, policy: AddressPolicy) -> bool:
    """Tell whether the allow-list names the host, or a network that holds its address."""
    name = host.rstrip(".").lower()
    if any(name == suffix or name.endswith(f".{suffix}") for suffix in policy.host_suffixes):
        return True
    if address is None:
        return False
    found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    return any(found.version == network.version and found in network for network in policy.networks)


def read_allow_list(text: str) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    """Split a comma-separated allow-list into networks and host names (``*.`` in front is optional)."""
    networks: list[Network] = []
    suffixes: list[str] = []
    for item in filter(None, (part.strip().lower() for part in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            suffixes.append(item.removeprefix("*.").rstrip("."))
    return tuple(networks), tuple(suffixes)


def _split(url: str, code: ErrorCode = ErrorCode.ENDPOINT_INVALID) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError as exc:
        raise _invalid(url, code, f"correct the URL: {exc}") from None
    return parts


def _queue_endpoint(url: str, parts: SplitResult) -> Endpoint:
    node = parts.path.rstrip("/")
    if not _QUEUE.fullmatch(parts.netloc) or (node and not _NODE.fullmatch(node)):
        raise _invalid(
            url, ErrorCode.ENDPOINT_INVALID, "name the queue, and one worker of it if need be: celery://l05.planning/worker1@host"
        )
    return Endpoint(scheme="celery", host=parts.netloc, port=0, base_path=node)


def _host_endpoint(url: str, parts: SplitResult) -> Endpoint:
    host = (parts.hostname or "").lower()
    if not _is_host(host) or parts.netloc.endswith(":"):
        raise _invalid(url, ErrorCode.ENDPOINT_INVALID, "name a host, such as http://host:8002")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    if port in REFUSED_PORTS:
        raise _invalid(url, ErrorCode.ENDPOINT_PORT_REFUSED, f"port {port} belongs to another protocol")
    if not _BASE_PATH.fullmatch(parts.path) or re.search(r"/\.{1,2}(/|$)", parts.path):
        raise _invalid(url, ErrorCode.ENDPOINT_INVALID, "use a plain base path without dot segments, escapes or doubled slashes")
    return Endpoint(scheme=parts.scheme, host=host, port=port, base_path=parts.path.rstrip("/"))


def _is_host(host: str) -> bool:
    if ":" not in host:
        return bool(_HOST.fullmatch(host))
    try:
        # A scope (``fe80::1%eth0``) names an interface of the hub's machine: no business of a caller.
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _invalid(value: object, code: ErrorCode, suggestion: str) -> IntegrationError:
    shown = repr(value)[:80]
    return IntegrationError(code, f"{code.text}: {shown}", recovery_suggestion=suggestion)
