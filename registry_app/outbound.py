"""The only way out over HTTP: each connection is made to an address that the policy allows, resolved at that moment.

A name that pointed to a harmless address when the service registered may point elsewhere now, so the check stands where
the socket is opened, and the connection goes to the address that was checked. Proxies of the environment are ignored.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

from hub.errors import IntegrationError
from registry_app import addresses
from registry_app.deadline import watched


class AddressRefused(NewConnectionError):
    """The policy does not allow the address; nothing was sent."""

    def __init__(self, connection: HTTPConnection, cause: IntegrationError) -> None:
        super().__init__(connection, cause.message)
        self.cause = cause


def _connect(connection: HTTPConnection) -> socket.socket:
    host, port = connection.host.strip("[]"), connection.port or connection.default_port or 0
    limit = connection.timeout if isinstance(connection.timeout, int | float) else addresses.RESOLVE_SEC
    try:
        found = addresses.resolve(host, port, addresses.current_policy(), timeout_sec=limit)
    except IntegrationError as exc:
        raise AddressRefused(connection, exc) from None
    return _connect_to_first(connection, found)


def _connect_to_first(connection: HTTPConnection, found: list[str]) -> socket.socket:
    """Try the addresses in the resolver's order, as every client does; the last failure counts."""
    failure: Exception | None = None
    for address in found:
        try:
            place, options = (address, connection.port), connection.socket_options
            return watched(create_connection(place, connection.timeout, socket_options=options))
        except TimeoutError:
            failure = ConnectTimeoutError(connection, f"no connection to {address} within {connection.timeout} s")
        except OSError as exc:
            failure = NewConnectionError(connection, f"no connection to {address}: {exc.strerror or exc}")
    raise failure or NewConnectionError(connection, "the name has no address")


class _CheckedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _CheckedHTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _CheckedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _CheckedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPSConnection


class CheckedAdapter(HTTPAdapter):
    """A transport of `requests` whose connections are checked; mount it for both schemes."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Build the pools on checked connections."""
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool}


def new_session(*, make_adapter: Callable[[], HTTPAdapter] = CheckedAdapter) -> requests.Session:
    """Return a session that only reaches allowed addresses, without proxies, cookies or credentials of this machine."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", make_adapter())
    session.mount("https://", make_adapter())
    return session
