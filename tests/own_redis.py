"""A Redis that a test may end, freeze and start again."""

from __future__ import annotations

import signal

from hub.embedded import free_port, start_redis


class OwnRedis:
    """A server at a port of its own, which it keeps when it is started again."""

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
