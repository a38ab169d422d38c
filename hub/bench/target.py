"""A service that costs nearly nothing: ``/`` answers at once, ``/sleep/20`` after 20 ms. Run: ``python -m hub.bench.target PORT``."""

from __future__ import annotations

import asyncio
import re
import sys

BODY = b'{"ok": true}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SLEEP = re.compile(rb"^\w+ /sleep/(\d+)")


class Service(asyncio.Protocol):
    """Enough of HTTP/1.1 for a client that keeps its connection and sends one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._got = transport, b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, separator, body = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or (length and len(body) < int(length[1])):
            return
        self._got = b""
        sleep = _SLEEP.match(head)
        asyncio.get_running_loop().call_later(int(sleep[1]) / 1000 if sleep else 0, self._answer)

    def _answer(self) -> None:
        if isinstance(self._transport, asyncio.Transport) and not self._transport.is_closing():
            self._transport.write(ANSWER)


async def serve(port: int) -> None:
    """Serve on loopback until the process ends."""
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
