"""Many processes at once, and a service that they call in vain."""

import multiprocessing
import socket
import time

from hub.circuits import breaker, store
from hub.circuits.guards import guard
from hub.embedded import free_port
from hub.errors import CircuitOpen

fork = multiprocessing.get_context("fork")


class Processes:
    """Run functions in forked processes, one call each; `results()` waits for what they return."""

    def __init__(self):
        self.running, self.answers = [], fork.SimpleQueue()

    def start(self, work, *args):
        process = fork.Process(target=self._run, args=(work, args), daemon=True)
        process.start()
        self.running.append(process)
        return process

    def _run(self, work, args):
        self.answers.put(work(*args))

    def results(self, count):
        return [self.answers.get() for _ in range(count)]

    def stop(self):
        for process in self.running:
            process.kill()
            process.join(10)


class DeadService:
    """Counts who reaches it, over all processes, and fails after `sec`, or at once by refusing the connection (None)."""

    def __init__(self, sec=0.05):
        self.sec, self.port, self.reached = sec, free_port(), fork.Value("i", 0)

    def call(self):
        with self.reached.get_lock():
            self.reached.value += 1
        if self.sec is None:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        time.sleep(self.sec)
        raise ConnectionError("dead")


def call_until(service, dead, together, calls):
    """Call so often, begun together with the others; return how many calls were refused."""
    breaker.admit(f"{service}-warm-up")  # a worker that has been running has its connections
    together.wait(30)
    refused = 0
    for _ in range(calls):
        try:
            breaker.execute(service, dead.call)
        except CircuitOpen:
            refused += 1
        except ConnectionError:
            pass
    return refused


class Remote:
    """A process that does one thing after another as it is told; what it is told must be a function of a module."""

    def __init__(self):
        self._pipe, theirs = fork.Pipe()
        self.process = fork.Process(target=_obey, args=(theirs,), daemon=True)
        self.process.start()

    def tell(self, work, *args):
        self._pipe.send((work, args))

    def answer(self, timeout_sec=60):
        assert self._pipe.poll(timeout_sec), "a process does not answer"
        return self._pipe.recv()

    def do(self, work, *args):
        self.tell(work, *args)
        return self.answer()

    def kill(self):
        self.process.kill()
        self.process.join(10)


def _obey(pipe):
    while True:
        work, args = pipe.recv()
        pipe.send(work(*args))


def all_do(remotes, work, *args):
    """Let all do the same at once and return what each says."""
    for one in remotes:
        one.tell(work, *args)
    return [one.answer() for one in remotes]


_held = []
"""Permits of a remote process between two of its orders."""


def outcome_of(service, fails=False, config=None):
    """Make a guarded call; return "ok", "failed" or the code of the refusal."""
    try:
        with guard(service, config):
            if fails:
                raise ConnectionError("dead")
    except CircuitOpen as exc:
        return str(exc.code)
    except ConnectionError:
        return "failed"
    return "ok"


def outcomes_of(service, times, fails=False, config=None):
    return [outcome_of(service, fails, config) for _ in range(times)]


def take_permit(service, config=None, lease_sec=breaker.LEASE_SEC):
    """Take a permit and keep it; return the time by Redis' clock before and after, or None when refused."""
    before_ms = redis_ms()
    try:
        _held.append(breaker.admit(service, config, lease_sec=lease_sec))
    except CircuitOpen:
        return None
    return before_ms, redis_ms()


def report_permit(ok):
    """Report the permit that was taken first."""
    breaker.report(_held.pop(0), ok=ok)


def state_of(service):
    seen = breaker.look(service)
    return str(seen.state), seen.shared


def redis_ms():
    seconds, microseconds = store.client().time()
    return seconds * 1000 + microseconds // 1000
