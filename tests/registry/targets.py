"""Services of the kinds that the hub probes, as processes and sockets of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time

from hub.embedded import free_port, wait_for_port

HTTP_SERVER = """
import http.server, os, sys, time
mode_file = sys.argv[2]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mode = open(mode_file).read()
        if mode == "hang":
            time.sleep(30)
        self.send_response(200 if mode == "ok" else 500)
        self.end_headers()
        self.wfile.write(mode.encode())
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

GRPC_SERVER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
server = grpc.server(ThreadPoolExecutor(2))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
servicer.set("planning", health_pb2.HealthCheckResponse.NOT_SERVING)
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
"""


class HttpService:
    """An HTTP service in a process of its own, which can be told to fail, hang, die, and come back."""

    def __init__(self, mode_file, port=None):
        self.port = port or free_port()
        self.mode_file = mode_file
        self.process = None
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.behave("ok")
        self.process = subprocess.Popen([sys.executable, "-c", HTTP_SERVER, str(self.port), str(self.mode_file)])
        wait_for_port(self.port, 10)

    def behave(self, mode):
        """``ok``, ``fail`` (500) or ``hang``."""
        self.mode_file.write_text(mode)

    def die(self):
        self.process.kill()
        self.process.wait(10)


def start_grpc_server():
    """Start a gRPC server with the standard health service; return process and port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", GRPC_SERVER, str(port)])
    wait_for_port(port, 20)
    return process, port


@contextlib.contextmanager
def raw_server(answer, *, drip_sec=None):
    """Serve `answer` (bytes) to each connection: at once, or a byte at a time for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve(client):
        with contextlib.suppress(OSError), client:
            client.recv(65_536)
            client.sendall(answer)
            while drip_sec and not over.wait(drip_sec):
                client.sendall(b"X")

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.close()


@contextlib.contextmanager
def deaf_port():
    """A port that accepts nothing: the queue of connections is full, so connecting takes for ever."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    clients = []
    for _ in range(8):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        clients.append(client)
    time.sleep(0.05)  # let the kernel fill the queue
    try:
        yield listener.getsockname()[1]
    finally:
        for client in [*clients, listener]:
            client.close()
