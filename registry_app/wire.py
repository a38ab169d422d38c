"""The only way out over HTTP: connections that know the call they work for, how long it may take, how much it may bring.

A timeout of `requests` starts again with each read, so a service that sends one byte per second holds a worker for ever;
here each read gets only what is left of the whole call. Bytes are counted below HTTP, so headers and chunk frames that
never end are cut too. A name that pointed to a harmless address when the service registered may point elsewhere now: it
is resolved here, each address is checked, and the connection is made to that very address.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from hub.errors import ErrorCode, IntegrationError, RequestFailed
from registry_app import addresses

POOLED_HOSTS = 64
POOLED_PER_HOST = 64
"""All services of a broadcast may stand behind one gateway."""
CONNECT_SEC = 5.0
"""How long an address may take to accept, and then to shake hands: a machine that is gone says nothing, and another may be well."""
_NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class ExceedsLimit(Exception):
    """Raised while reading: the service sent more than the call may bring."""


class Call:
    """One exchange: its limits, and what happened so far. `cancel` may come from another thread."""

    def __init__(self, *, deadline: float, max_received: int) -> None:
        """`deadline` is in seconds of ``time.monotonic``."""
        self.deadline = deadline
        self.sent = False
        self.cancelled = False
        self.connect_sec = 0.0
        self._may_receive = max_received
        self._socket: GuardedSocket | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the deadline has passed."""
        return time.monotonic() >= self.deadline

    def time_left(self) -> float:
        """Return the seconds that are left; TimeoutError when none are."""
        if self.cancelled:
            raise ConnectionAbortedError("cancelled")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline of the call")
        return left

    def received(self, count: int) -> None:
        """Note bytes that came in; ExceedsLimit when they are too many."""
        self._may_receive -= count
        if self._may_receive < 0:
            raise ExceedsLimit

    def uses(self, sock: GuardedSocket) -> None:
        """Remember the socket, so that `cancel` can end a read that waits on it."""
        self._socket = sock

    def cancel(self) -> None:
        """End the call at once, wherever it waits."""
        self.cancelled = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Current(threading.local):
    call: Call | None = None


_current = _Current()


@contextlib.contextmanager
def working_for(call: Call) -> Iterator[None]:
    """Make every connection that this thread uses in the block work for `call`."""
    _current.call = call
    try:
        yield
    finally:
        _current.call = None


def _call() -> Call:
    if _current.call is None:
        raise RuntimeError("connections of this pool are used within working_for() only")
    return _current.call


class GuardedSocket(socket.socket):
    """A socket whose every wait ends with the call."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive what comes, within the time and bytes of the call."""
        call = self._begin()
        count = super().recv_into(*args, **kwargs)
        call.received(count)
        return count

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Send all within the time of the call, and note that something was sent."""
        self._begin().sent = True
        super().sendall(*args, **kwargs)

    def _begin(self) -> Call:
        call = _call()
        call.uses(self)
        self.settimeout(call.time_left())
        return call


class GuardedTlsSocket(GuardedSocket, ssl.SSLSocket):
    """The same over TLS, which sends all in parts; the bytes are counted after decryption."""

    def send(self, *args: Any, **kwargs: Any) -> int:
        """Send a part within what is left of the call."""
        self._begin()
        return super().send(*args, **kwargs)


class _Response(http.client.HTTPResponse):
    """Passes over every interim answer (102, 103): the library knows 100 alone, and leaves the final answer to the next call."""

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # not in the types
        return version, http.client.CONTINUE if status < http.client.OK else status, reason


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _connect(self.host.strip("[]"), self.port)


class _TlsConnection(HTTPSConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        return _connect(self.host.strip("[]"), self.port)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Pools of guarded connections; nothing is retried here, for only who asks knows what is safe."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        """Build the pools of the adapter."""
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, ssl_context=_tls_context(), **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def new_session() -> requests.Session:
    """Return a session whose connections are guarded; it works within `working_for` only.

    No proxy and no credentials are taken from the environment: they would divert calls unseen.
    """
    found = requests.Session()
    found.trust_env = False
    found.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # one service's cookies are none of the next one's business
    adapter = _Adapter(POOLED_HOSTS, POOLED_PER_HOST, max_retries=0)  # one for both: it reads all certificates of the machine
    found.mount("http://", adapter)
    found.mount("https://", adapter)
    return found


def _connect(host: str, port: int) -> GuardedSocket:
    """Try the addresses in the resolver's order, as every client does; one that says nothing leaves the others their share of the time."""
    call, started, problems = _call(), time.monotonic(), []
    found = _addresses(host, port)
    for number, address in enumerate(found):
        try:
            sock = _open(address, port, share=1 / (len(found) - number))
        except OSError as exc:
            if call.cancelled:
                raise
            problems.append(f"{address}: {exc.strerror or exc}")
            if call.is_over:
                break
            continue
        call.connect_sec = time.monotonic() - started
        return sock
    reasons = "; ".join(problems)
    raise RequestFailed(ErrorCode.CONNECT_FAILED, f"could not connect to {host}:{port} ({reasons})", outcome="nothing_sent")


def _open(address: str, port: int, *, share: float) -> GuardedSocket:
    call = _call()
    sock = GuardedSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(*_NODELAY)
        sock.settimeout(min(CONNECT_SEC, call.time_left() * share))
        call.uses(sock)
        sock.connect((address, port))
        sock.settimeout(min(CONNECT_SEC, call.time_left()))  # for the handshake, should there be one
    except OSError:
        sock.close()
        raise
    return sock


def _addresses(host: str, port: int) -> list[str]:
    call = _call()
    try:
        return addresses.resolve(host, port, addresses.current_policy(), timeout_sec=min(addresses.RESOLVE_SEC, call.time_left()))
    except IntegrationError as exc:
        call.time_left()  # what was not resolved in time is a deadline that passed
        resolved = exc.code is not ErrorCode.NAME_RESOLUTION_FAILED
        code = ErrorCode.ADDRESS_REFUSED_AT_CONNECT if resolved else exc.code
        raise RequestFailed(code, exc.message, exc.details, exc.recovery_suggestion, outcome="nothing_sent") from exc


def _tls_context() -> ssl.SSLContext:
    """Return a verifying TLS context whose sockets are guarded."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = GuardedTlsSocket
    return context
