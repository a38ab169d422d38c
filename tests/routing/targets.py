"""A service that behaves as badly as its path says, and remembers what reached it."""

from __future__ import annotations

import gzip
import http.server
import json
import socket
import struct
import threading
import time
import zlib
from contextlib import ExitStack, contextmanager
from functools import cache
from urllib.parse import urlsplit


class Target:
    """An HTTP server on loopback; `requests` holds (method, path, headers, body) of each call that arrived."""

    def __init__(self, tls=None):
        self.requests = []
        self.connections = 0
        self.told = {}
        self.hits_at = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"target": self}))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if tls:
            self.url = f"https://localhost:{self.port}"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def silent_address():
    """Give the URL of an address that takes no connection and refuses none, as that of a machine that has lost its power."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        for _ in range(4):  # more than its queue holds
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: callers that hang up are what is tested."""


@cache
def _bomb(size=300_000_000):
    """Return a thousandth of `size` that unfolds to it; a full flush makes each block independent, so one is packed for all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, again = (packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (size // 1_000_000 - 1)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    target: Target

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.target.connections += 1

    def handle_any(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        self.target.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.target.hits_at.append(time.monotonic())
        name = urlsplit(self.path).path.strip("/").replace("-", "_")
        code, _, _ = name.partition("/")
        try:
            getattr(self, f"do_{code}", self.do_echo)(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def answer(self, body=b"", status=200, content_type="application/json", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def do_as_told(self, body):
        """Answer as an entry of `data/bad_inputs.json` describes it."""
        match self.target.told:
            case {"close_after_request": True}:
                self.do_close(body)
            case {"chunked_forever": True}:
                self.do_endless(body)
            case {"gzip_bomb": size}:
                self.answer(_bomb(size), Content_Encoding="gzip")
            case {"body_repeat": size}:
                self.do_huge(body, size)
            case {"content_length": length, "body": text}:
                self.do_short(body, length, text.encode())
            case {"status": status, "headers": headers}:
                self.answer(b"", status=status, **headers)
            case other:
                raise AssertionError(f"no such answer: {other}")

    def do_echo(self, body):
        self.answer({"method": self.command, "path": self.path, "body": body.decode("latin-1"), "type": self.headers.get("content-type")})

    def do_status(self, body):
        self.answer({"reason": "as asked"}, status=int(self.path.split("/")[2].partition("?")[0]))

    def do_flaky(self, body):
        """Answer 503 the first two times."""
        seen = sum(path.startswith("/flaky") for _, path, _, _ in self.target.requests)
        self.answer({"seen": seen}, status=503 if seen <= 2 else 200)

    def do_busy(self, body):
        self.answer({}, status=429, Retry_After="30")

    def do_redirect(self, body):
        self.answer(b"", status=302, Location="http://127.0.0.1:6379/")

    def do_hints(self, body):
        """Say early what the answer will link to, and answer when the caller had time to take that for the answer."""
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        self.wfile.flush()
        time.sleep(0.2)
        self.do_echo(body)

    def do_text(self, body):
        self.answer("grüße".encode(), content_type="text/plain; charset=utf-8")

    def do_loud_text(self, body):
        self.answer(b"hello", content_type="Text/Plain")

    def do_secret(self, body):
        self.answer({"session_token": "abc-123-def-456"})

    def do_nul_in_header(self, body):
        self.answer({}, X_Odd="a\x00b")

    def do_binary(self, body):
        self.answer(bytes(range(256)), content_type="application/octet-stream")

    def do_empty(self, body):
        self.send_response(204)
        self.end_headers()

    def do_gzip(self, body):
        self.answer(gzip.compress(json.dumps({"packed": True}).encode()), Content_Encoding="gzip")

    def do_members(self, body):
        self.answer(gzip.compress(b"one, ") + gzip.compress(b"two"), content_type="text/plain", Content_Encoding="gzip")

    def do_deflate(self, body):
        """Send without a header what is asked for as "deflate", as many servers do."""
        packed = zlib.compressobj(wbits=-15)
        raw = packed.compress(b"packed") + packed.flush()
        if "deflate" in self.headers["accept-encoding"]:
            self.answer(raw, content_type="text/plain", Content_Encoding="deflate")
        else:
            self.answer(b"plain", content_type="text/plain")

    def do_bomb(self, body):
        self.answer(_bomb(), Content_Encoding="gzip")

    def do_broken_json(self, body):
        self.answer(b'{"a": ')

    def do_nan(self, body):
        self.answer(b'{"a": NaN}')

    def do_deep(self, body):
        self.answer(b"[" * 100_000 + b"]" * 100_000)

    def do_garbage(self, body):
        self.wfile.write(b"what is this\r\n\r\n")
        self.close_connection = True

    def do_endless(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + bytes(65_536) + b"\r\n")

    def do_endless_header(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            self.wfile.write(b"a" * 65_536)

    def do_endless_chunk_size(self, body):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            self.wfile.write(b"0" * 65_536)

    def do_huge(self, body, size=300_000_000):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        for _ in range(size // 1_000_000):
            self.wfile.write(bytes(1_000_000))

    def do_hang(self, body):
        time.sleep(10)
        self.close_connection = True

    def do_slow(self, body):
        time.sleep(float(self.path.split("/")[2]))
        self.answer({"slow": True})

    def do_drip(self, body):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self._drip(b"x" * 100)

    def do_drip_headers(self, body):
        self._drip(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Pad: " + b"a" * 100 + b"\r\n\r\n")

    def _drip(self, raw):
        for byte in raw:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.05)
        self.close_connection = True

    def do_reset(self, body):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def do_close(self, body):
        self.close_connection = True

    def do_short(self, body, length=100, text=b"x"):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(text)
        self.close_connection = True
