"""Where the hub may connect to: names are resolved here, and only addresses that the policy allows come back."""

from __future__ import annotations

import ipaddress
import os
import queue
import socket
import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from hub.conf import HubSettings
from hub.errors import ErrorCode, IntegrationError
from hub.events.targets import is_own_queue
from registry_app.checks import HealthCheck, HealthCheckType
from registry_app.endpoints import AddressPolicy, Endpoint, is_listed, parse_endpoint, parse_host_port, read_allow_list, why_refused

RESOLVE_SEC = 3.0
RESOLVER_THREADS = 32
_LOCAL_NAMES = frozenset({"*", "localhost", "127.0.0.1", "[::1]", "::1"})
_USUAL_WEB_PORTS = (80, 443, 8000)


def current_policy() -> AddressPolicy:
    """Return the policy of the settings: ``HUB_ALLOW_LOOPBACK_ENDPOINTS``, ``HUB_ALLOWED_ENDPOINT_NETWORKS``."""
    return _policy(settings.HUB, tuple(settings.ALLOWED_HOSTS), settings.REDIS_URL)


@lru_cache(maxsize=4)
def _policy(hub: HubSettings, allowed_hosts: tuple[str, ...], redis_url: str) -> AddressPolicy:
    networks, suffixes = read_allow_list(hub.allowed_endpoint_networks)
    own = {(name.lstrip("."), port) for name in allowed_hosts if name not in _LOCAL_NAMES for port in _USUAL_WEB_PORTS}
    for url in (redis_url, str(hub.run_record().get("web_url") or "")):
        own |= _place(url)
    return AddressPolicy(allow_private=hub.allow_loopback_endpoints, networks=networks, host_suffixes=suffixes, own_places=frozenset(own))


def _place(url: str) -> set[tuple[str, int]]:
    parts = urlsplit(url)
    return {(parts.hostname, parts.port)} if parts.hostname and parts.port else set()


def check_place(host: str, port: int, policy: AddressPolicy) -> None:
    """Refuse a host that may not be registered.

    A name that cannot be resolved yet passes unless there is an allow-list: each connection looks again.
    Errors: E11080 a refused address or the hub itself, E11081 outside the allow-list, E11082 a name for a refused address.
    """
    try:
        resolve(host, port, policy)
    except IntegrationError as exc:
        if exc.code is not ErrorCode.NAME_RESOLUTION_FAILED:
            raise
        if policy.has_allow_list and not is_listed(host, None, policy):
            raise _not_listed(host) from None


def check_endpoint(place: Endpoint, policy: AddressPolicy) -> None:
    """Refuse a service endpoint whose host may not be called (see `check_place`), or a queue of the hub; E11080."""
    if place.takes_requests:
        check_place(place.host, place.port, policy)
    elif is_own_queue(place.host):
        raise IntegrationError(ErrorCode.ENDPOINT_ADDRESS_REFUSED, f"queue {place.host} is the hub's own")


def check_target(check: HealthCheck) -> None:
    """Refuse a health check of a host that may not be connected to; E11880."""
    place = place_of(check)
    if place is None:
        return
    try:
        check_place(*place, policy_for(check))
    except IntegrationError as exc:
        raise IntegrationError(ErrorCode.CHECK_ADDRESS_REFUSED, exc.message, recovery_suggestion=exc.recovery_suggestion) from None


def policy_for(check: HealthCheck) -> AddressPolicy:
    """Return the policy for a probe: a PING of the hub's own Redis does no harm, and a layer may depend on it."""
    policy = current_policy()
    return replace(policy, own_places=frozenset()) if check.check_type is HealthCheckType.REDIS else policy


def place_of(check: HealthCheck) -> tuple[str, int] | None:
    """Return host and port that a check connects to; None when it connects to nothing of the service's own."""
    match check.check_type:
        case HealthCheckType.TTL | HealthCheckType.CELERY:
            return None
        case HealthCheckType.HTTP:
            place = parse_endpoint(check.endpoint.partition("?")[0])
            return place.host, place.port
        case kind:
            return parse_host_port(check.endpoint.removesuffix("/0"), scheme=kind.value)


def resolve(host: str, port: int, policy: AddressPolicy, *, timeout_sec: float = RESOLVE_SEC) -> list[str]:
    """Return the addresses of a host, all of them allowed; connect to one of these, not to the name.

    Errors: those of `check_place`, and E11347 when the name cannot be resolved, or not in time.
    """
    _refuse_own_place([host], port, policy)
    found = _addresses(host, port, timeout_sec)
    _refuse_own_place(found, port, policy)
    refusal = next(filter(None, (why_refused(address, policy) for address in found)), None)
    if refusal and not _is_name(host):
        raise IntegrationError(ErrorCode.ENDPOINT_ADDRESS_REFUSED, refusal, recovery_suggestion=_HOW_TO_ALLOW)
    if refusal:
        # One refused address is enough: which of several a later look-up gives is the answerer's choice.
        raise IntegrationError(ErrorCode.ENDPOINT_RESOLVES_TO_REFUSED, f"{host}: {refusal}", recovery_suggestion=_HOW_TO_ALLOW)
    if policy.has_allow_list and not all(is_listed(host, address, policy) for address in found):
        raise _not_listed(host)
    return found


def _refuse_own_place(hosts: list[str], port: int, policy: AddressPolicy) -> None:
    if any((host, port) in policy.own_places for host in hosts):
        raise IntegrationError(ErrorCode.ENDPOINT_ADDRESS_REFUSED, f"{hosts[0]}:{port} is the hub itself or one of its stores")


_HOW_TO_ALLOW = "on a closed network set HUB_ALLOW_LOOPBACK_ENDPOINTS=true or name the network in HUB_ALLOWED_ENDPOINT_NETWORKS"


def _addresses(host: str, port: int, timeout_sec: float) -> list[str]:
    try:
        found = _ask_resolver(host, port, timeout_sec) if _is_name(host) else _look_up(host, port)
    except TimeoutError:
        raise IntegrationError(ErrorCode.NAME_RESOLUTION_FAILED, f"{host} was not resolved within {timeout_sec:g} s") from None
    except (socket.gaierror, UnicodeError) as exc:
        raise IntegrationError(ErrorCode.NAME_RESOLUTION_FAILED, f"{host} cannot be resolved: {exc}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _look_up(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _ask_resolver(host: str, port: int, timeout_sec: float) -> list[Any]:
    """Wait for the resolver in another thread: it knows no time limit, and a dead name server would hold the caller."""
    return _resolver(os.getpid()).ask(host, port).result(timeout_sec)


class _Resolver:
    """Looks names up in threads of its own, each name in one at a time: a dead zone takes one for each of its names, no more.

    Daemons, and no executor: the end of a process would wait for name servers that do not answer.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[list[Any]], str, int]] = queue.SimpleQueue()
        self._asked: dict[tuple[str, int], Future[list[Any]]] = {}
        self._lock = threading.Lock()
        self._threads = 0

    def ask(self, host: str, port: int) -> Future[list[Any]]:
        """Return the look-up that is under way, or begin one."""
        with self._lock:
            found = self._asked.get((host, port))
            if found is None or found.done():
                self._asked = {key: one for key, one in self._asked.items() if not one.done()}
                found = self._asked[host, port] = Future()
                self._waiting.put((found, host, port))
                self._start_as_needed()
            return found

    def _start_as_needed(self) -> None:
        if self._threads < min(len(self._asked), RESOLVER_THREADS):
            self._threads += 1
            threading.Thread(target=self._work, name="registry-resolver", daemon=True).start()

    def _work(self) -> None:
        while True:
            asked, host, port = self._waiting.get()
            try:
                asked.set_result(_look_up(host, port))
            except Exception as exc:  # What it is, is for whoever asked to judge; this thread asks for others too.
                asked.set_exception(exc)


@lru_cache(maxsize=1)
def _resolver(pid: int) -> _Resolver:
    # Threads do not survive a fork, so each process has its own.
    return _Resolver()


def _is_name(host: str) -> bool:
    """Tell a name from an address in any spelling that the resolver takes (``127.1``, ``0x7f000001``)."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            socket.inet_aton(host)
        except OSError:
            return True
    return False


def _not_listed(host: str) -> IntegrationError:
    return IntegrationError(
        ErrorCode.ENDPOINT_HOST_NOT_ALLOWED,
        f"{host} is outside the allow-list",
        recovery_suggestion="name its network or host in HUB_ALLOWED_ENDPOINT_NETWORKS",
    )
