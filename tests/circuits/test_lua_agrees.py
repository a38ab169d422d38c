"""The script that Redis runs and the pure rules are the same machine: random histories go through both."""

import itertools
import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hub.circuits import policy, store
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.policy import Circuit, CircuitState, Slice

numbers = itertools.count()
CONFIG = CircuitBreakerConfig(
    failure_threshold=3,
    success_threshold=2,
    timeout_sec=0.1,
    max_timeout_sec=0.15,
    half_open_requests=2,
    error_rate_threshold=0.5,
    minimum_calls=4,
    window_size_sec=0.3,
    slow_call_sec=1,
    slow_rate_threshold=0.5,
)
LEASE_MS = 15


class Agreement(RuleBasedStateMachine):
    """Each step is done in Redis first; the model repeats it at the time that Redis says it was."""

    @initialize()
    def begin(self):
        self.name = f"model-{next(numbers)}"
        self.permits = []
        self.circuit = None

    def ask(self, operation, **args):
        found = store.ask(self.name, operation, CONFIG, worker="w", failure="{}", **args)
        if self.circuit is None:
            # The first generation is the time; everything after it follows.
            self.circuit = Circuit(generation=found["circuit"]["now_ms"])
        return found, found["circuit"]["now_ms"]

    def permit(self, which):
        """Return one of the permits; what is drawn must not depend on how many real time has granted."""
        return self.permits[which % len(self.permits)] if self.permits else (1, "never-admitted")

    def check(self, found):
        seen, model = found["circuit"], self.circuit
        names = ("state", "generation", "failures", "successes", "openings", "why", "manual", "manual_until_ms")
        assert {name: seen[name] for name in names} == {name: getattr(model, name) for name in names}
        if model.state is CircuitState.OPEN:
            assert seen["open_until_ms"] == model.open_until_ms
        total = model.totals(CONFIG, now_ms=seen["now_ms"])
        assert Slice(number=total.number, ok=seen["ok"], failed=seen["failed"], slow=seen["slow"]) == total

    @rule()
    def admit(self):
        probe_id = f"p{next(numbers)}"
        found, now = self.ask("admit", probe_id=probe_id, lease_ms=LEASE_MS)
        self.circuit, verdict = policy.admit(self.circuit, CONFIG, now_ms=now, probe_id=probe_id, lease_ms=LEASE_MS)
        assert found["admitted"] == verdict.admitted
        assert found.get("retry_after_ms", 0) == verdict.retry_after_ms
        assert found.get("why", "") == verdict.why
        if verdict.admitted:
            self.permits.append((self.circuit.generation, verdict.probe_id))
        self.check(found)

    @rule(
        which=st.integers(0, 50),
        ok=st.booleans(),
        slow=st.booleans(),
        jitter=st.sampled_from([0.0, 0.37, 1.0]),
        retry_after_ms=st.sampled_from([0, 0, 0, 30]),
    )
    def record(self, which, ok, slow, jitter, retry_after_ms):
        generation, probe_id = self.permit(which)
        self.report(generation, probe_id, ok=ok, slow=slow, jitter=jitter, retry_after_ms=0 if ok else retry_after_ms)

    def report(self, generation, probe_id, **result):
        found, now = self.ask("record", generation=generation, probe_id=probe_id, **result)
        self.circuit = policy.record(self.circuit, CONFIG, generation=generation, probe_id=probe_id, now_ms=now, **result)
        self.check(found)

    @rule(results=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6))
    def calls_one_after_another(self, results):
        for ok, slow in results:
            known = len(self.permits)
            self.admit()
            if len(self.permits) > known:
                self.report(*self.permits.pop(), ok=ok, slow=slow, jitter=0.0, retry_after_ms=0)

    @rule(slow=st.lists(st.booleans(), min_size=4, max_size=6))
    def good_calls_of_which_some_are_slow(self, slow):
        self.reset()
        self.calls_one_after_another([(True, one) for one in slow])

    @rule(
        outcomes=st.lists(st.sampled_from(["ok", "ok", "failed", "busy", "slow to end", "released"]), min_size=1, max_size=4),
        again=st.booleans(),
    )
    def an_open_period_and_its_probes(self, outcomes, again):
        self.calls_one_after_another([(False, False)] * 3)
        for _ in range(1 + again):
            left_ms = self.circuit.open_until_ms - int(time.time() * 1000)
            time.sleep(min(max(left_ms, 0) / 1000, 0.5) + 0.002)
            known = len(self.permits)
            for _ in range(3):
                self.admit()
            probes = self.permits[known:]
            del self.permits[known:]
            for outcome, (generation, probe_id) in zip(outcomes, probes, strict=False):
                if outcome == "released":
                    self.give_back(probe_id)
                    continue
                time.sleep(LEASE_MS / 1000 if outcome == "slow to end" else 0)
                ok, pause_ms = outcome not in ("failed", "busy"), 30 if outcome == "busy" else 0
                self.report(generation, probe_id, ok=ok, slow=False, jitter=0.5, retry_after_ms=pause_ms)
                self.admit()

    @rule(ok=st.integers(1, 5), jitter=st.sampled_from([0.0, 1.0]), late=st.booleans())
    def flush_good_results(self, ok, jitter, late):
        if self.circuit is None:
            self.admit()  # a look at a breaker that nobody used makes none
        generation = self.circuit.generation - int(late)
        found, now = self.ask("look", good=ok, good_slow=ok // 2, good_generation=generation, jitter=jitter)
        self.circuit = policy.record_good(self.circuit, CONFIG, generation=generation, ok=ok, slow=ok // 2, now_ms=now, jitter=jitter)
        self.circuit = policy.without_expired_force(self.circuit, now_ms=now)
        self.check(found)

    @rule(which=st.integers(0, 50))
    def release(self, which):
        self.give_back(self.permit(which)[1])

    def give_back(self, probe_id):
        found, now = self.ask("release", probe_id=probe_id)
        self.circuit = policy.release(policy.without_expired_force(self.circuit, now_ms=now), probe_id=probe_id)
        self.check(found)

    @rule(mode=st.sampled_from(policy.MANUAL), for_ms=st.sampled_from([1, 40, 10_000]))
    def force(self, mode, for_ms):
        found, now = self.ask("force", why=str(mode), manual=str(mode), for_ms=for_ms, by="me", reason="test")
        self.circuit = policy.without_expired_force(self.circuit, now_ms=now)
        self.circuit = policy.force(self.circuit, mode, until_ms=now + for_ms, why=str(mode))
        self.check(found)

    @rule()
    def reset(self):
        found, now = self.ask("reset", why="reset", by="me", reason="test")
        self.circuit = policy.reset(policy.without_expired_force(self.circuit, now_ms=now), why="reset")
        self.check(found)

    @rule(ms=st.sampled_from([1, 20, 60]))
    def time_passes(self, ms):
        time.sleep(ms / 1000)


Agreement.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],
)


@pytest.mark.timeout(100)
class TestAgreement(Agreement.TestCase):
    pass
