"""A breaker of its own for each test, on a real Redis."""

import itertools
import signal

import pytest

from hub.circuits import fleet
from hub.embedded import free_port, start_redis

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _fresh_process():
    fleet.forget()
    yield
    fleet.forget()


@pytest.fixture
def service():
    """A name that no other test uses."""
    return f"svc-{next(_numbers)}"


@pytest.fixture
def own_redis(tmp_path, settings):
    """A Redis that the test may `stop()`, `start()`, `restart()`, `freeze()` and `thaw()`."""
    server = _Server(tmp_path / "redis")
    settings.REDIS_URL = f"redis://127.0.0.1:{server.port}/0"
    yield server
    server.stop()


class _Server:
    def __init__(self, data_dir):
        self.data_dir, self.port = data_dir, free_port()
        self.start()

    def start(self):
        self.process = start_redis(self.data_dir, self.port)

    def stop(self):
        self.process.kill()
        self.process.wait(10)

    def restart(self):
        """End it in good order, so that all it knew is on the disk, and start it again."""
        self.process.terminate()
        self.process.wait(10)
        self.start()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
