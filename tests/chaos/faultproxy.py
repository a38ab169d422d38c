"""A TCP proxy that misbehaves on request, between workers and their Redis.

    python -m tests.chaos.faultproxy LISTEN_PORT TARGET_PORT CONTROL_PORT

Orders are JSON lines on the control port, each answered by ``{"faults": n}``, how often something was done so far:
{"mode": "pass"}; {"mode": "cut"} resets every connection and refuses new ones; {"mode": "silence"} keeps them open and
delivers nothing; {"mode": "lose_answer", "command": "BRPOP", "count": 3} lets the command through and resets the
connection instead of answering (an empty answer is no loss, and is passed).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"
CHUNK = 65_536
EMPTY_ANSWERS = (b"*-1\r\n", b"$-1\r\n", b"_\r\n")


@dataclass(slots=True, eq=False)
class Connection:
    """A client's connection and ours to the target."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    asked: bytes = b""

    def reset(self) -> None:
        """End both ends as a broken network would."""
        for writer in (self.client, self.target):
            end = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@dataclass(slots=True)
class Proxy:
    """The connections that are open and the order in force."""

    target_port: int
    order: dict[str, Any] = field(default_factory=lambda: {"mode": "pass"})
    faults: int = 0
    open: set[Connection] = field(default_factory=set)

    def obey(self, order: dict[str, Any]) -> None:
        """Do as told from now on."""
        self.order = order
        if order["mode"] == "cut":
            self.faults += len(self.open)
            for connection in list(self.open):
                connection.reset()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.order["mode"] == "cut":
            self.faults += 1
            writer.transport.abort()
            return
        try:
            target_reader, target_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, target_writer)
        self.open.add(connection)
        try:
            up = self._carry(connection, reader, target_writer, to_client=False)
            down = self._carry(connection, target_reader, writer, to_client=True)
            await asyncio.gather(up, down)
        finally:
            self.open.discard(connection)

    async def _carry(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                while self.order["mode"] == "silence":
                    await asyncio.sleep(0.02)
                if not to_client:
                    connection.asked = data
                elif self._loses(connection, data):
                    connection.reset()
                    return
                writer.write(data)
                await writer.drain()
        writer.close()

    def _loses(self, connection: Connection, data: bytes) -> bool:
        order = self.order
        if order["mode"] != "lose_answer" or order["count"] <= 0 or data in EMPTY_ANSWERS:
            return False
        if order["command"].encode() not in connection.asked:
            return False
        order["count"] -= 1
        self.faults += 1
        return True

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            if order:
                self.obey(order)
            writer.write(json.dumps({"faults": self.faults}).encode() + b"\n")
            await writer.drain()
        writer.close()


class Remote:
    """The control of a proxy in another process."""

    def __init__(self, port: int) -> None:
        self._port = port

    def order(self, **order: Any) -> int:
        """Give an order, or none, and return how often something was done so far."""
        with socket.create_connection((HOST, self._port), timeout=5) as connection:
            connection.sendall(json.dumps(order).encode() + b"\n")
            answer: int = json.loads(connection.makefile().readline())["faults"]
            return answer


@contextlib.contextmanager
def in_between(target_port: int) -> Iterator[tuple[Proxy, int]]:
    """Run a proxy in a thread of this process, and give it and its port."""
    proxy, begun, ended = Proxy(target_port), Future[tuple[asyncio.AbstractEventLoop, int]](), asyncio.Event()

    async def serve() -> None:
        async with await asyncio.start_server(proxy.serve, HOST, 0) as server:
            begun.set_result((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
            await ended.wait()
            proxy.obey({"mode": "cut"})

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, port = begun.result(10)
    try:
        yield proxy, port
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


async def main() -> None:
    listen, target, control = (int(argument) for argument in sys.argv[1:4])
    proxy = Proxy(target)
    servers = [await asyncio.start_server(proxy.serve, HOST, listen), await asyncio.start_server(proxy.control, HOST, control)]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
