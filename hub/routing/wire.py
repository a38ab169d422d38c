"""Connections that know the call they work for: how long it may take, how much it may bring, where it may go.

A timeout of `requests` starts again with each read, so a service that sends one byte per second holds a worker for ever;
here each read gets only what is left of the whole call. Bytes are counted below HTTP, so headers and chunk frames that
never end are cut too. A name is resolved here, each address is checked, and the connection is made to that very address.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection

from hub.errors import ErrorCode, IntegrationError, RequestFailed

RESOLVER_THREADS = 8
_NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

Resolve = Callable[[str, int], list[str]]
"""Given host and port: the addresses to connect to, or an IntegrationError when one of them is refused."""


class ExceedsLimit(Exception):
    """Raised while reading: the service sent more than the call may bring."""


class Call:
    """One exchange: its limits, and what happened so far. `cancel` may come from another thread."""

    def __init__(self, *, deadline: float, max_received: int, resolve: Resolve) -> None:
        """`deadline` is in seconds of ``time.monotonic``."""
        self.deadline = deadline
        self.resolve = resolve
        self.sent = False
        self.cancelled = False
        self.connect_sec = 0.0
        self._may_receive = max_received
        self._socket: GuardedSocket | GuardedTlsSocket | None = None

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

    def uses(self, sock: GuardedSocket | GuardedTlsSocket) -> None:
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
def working_for(call: Call) -> Any:
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
    """A plain socket whose every wait ends with the call."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive what comes, within the time and bytes of the call."""
        call = _call()
        call.uses(self)
        self.settimeout(call.time_left())
        count = super().recv_into(*args, **kwargs)
        call.received(count)
        return count

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Send all within the time of the call, and note that something was sent."""
        call = _call()
        call.uses(self)
        self.settimeout(call.time_left())
        call.sent = True
        super().sendall(*args, **kwargs)


class GuardedTlsSocket(ssl.SSLSocket):
    """The same over TLS; the bytes are counted after decryption."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive what comes, within the time and bytes of the call."""
        call = _call()
        call.uses(self)
        self.settimeout(call.time_left())
        count = super().recv_into(*args, **kwargs)
        call.received(count)
        return count

    def send(self, *args: Any, **kwargs: Any) -> int:
        """Send a part within the time of the call, and note that something was sent."""
        call = _call()
        call.uses(self)
        self.settimeout(call.time_left())
        call.sent = True
        return super().send(*args, **kwargs)


class GuardedConnection(HTTPConnection):
    """HTTP over a guarded socket."""

    def _new_conn(self) -> socket.socket:
        return _connect(self.host.strip("[]"), self.port)


class GuardedTlsConnection(HTTPSConnection):
    """HTTPS over a guarded socket; the TLS context of the pool makes it a `GuardedTlsSocket`."""

    def _new_conn(self) -> socket.socket:
        return _connect(self.host.strip("[]"), self.port)


def _connect(host: str, port: int) -> GuardedSocket:
    call, started, problems = _call(), time.monotonic(), []
    for address in _addresses(host, port):
        try:
            sock = _open(address, port)
        except OSError as exc:
            call.time_left()
            problems.append(f"{address}: {exc.strerror or exc}")
            continue
        call.connect_sec = time.monotonic() - started
        return sock
    reasons = "; ".join(problems)
    raise RequestFailed(ErrorCode.CONNECT_FAILED, f"could not connect to {host}:{port} ({reasons})", outcome="nothing_sent")


def _open(address: str, port: int) -> GuardedSocket:
    call = _call()
    sock = GuardedSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(*_NODELAY)
        sock.settimeout(call.time_left())
        call.uses(sock)
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _addresses(host: str, port: int) -> list[str]:
    call = _call()
    try:
        # The resolver knows no deadline, so it is waited for in another thread.
        return _resolvers().submit(call.resolve, host, port).result(call.time_left())
    except IntegrationError as exc:
        resolved = exc.code is not ErrorCode.NAME_RESOLUTION_FAILED
        code = ErrorCode.ADDRESS_REFUSED_AT_CONNECT if resolved else exc.code
        raise RequestFailed(code, exc.message, exc.details, exc.recovery_suggestion, outcome="nothing_sent") from exc


@cache
def _resolvers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="hub-resolver")


def tls_context() -> ssl.SSLContext:
    """Return a verifying TLS context whose sockets are guarded."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = GuardedTlsSocket
    return context


os.register_at_fork(after_in_child=_resolvers.cache_clear)
