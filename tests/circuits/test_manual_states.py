"""What operators force upon a breaker, for the whole fleet and for a time."""

import time

import pytest

from hub.circuits import breaker, history, services, store
from hub.circuits.config import CircuitBreakerConfig
from hub.circuits.models import CircuitTransition
from hub.circuits.policy import CircuitState
from hub.errors import CircuitOpen, ErrorCode, IntegrationError
from tests.circuits.failing import fail, opened


@pytest.mark.django_db
class TestOperators:
    def test_a_manual_state_needs_a_name_a_reason_and_an_end(self, service):
        for by, why, for_sec in [("", "why", 60), ("me", " ", 60), ("me", "why", 0), ("me", "why", 8 * 86_400)]:
            with pytest.raises(IntegrationError) as caught:
                services.force(service, CircuitState.FORCED_OPEN, by=by, why=why, for_sec=for_sec)
            assert caught.value.code in (ErrorCode.ARGUMENT_MISSING, ErrorCode.BREAKER_TIMEOUT_INVALID)

    def test_only_manual_states_can_be_forced(self, service):
        with pytest.raises(IntegrationError) as caught:
            services.force(service, CircuitState.HALF_OPEN, by="me", why="why")

        assert caught.value.code is ErrorCode.BREAKER_TRANSITION_ILLEGAL

    def test_forced_open_refuses_with_its_own_code_until_its_end(self, service):
        services.force(service, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=0.2)

        with pytest.raises(CircuitOpen) as caught:
            breaker.admit(service)
        time.sleep(0.21)

        assert caught.value.code is ErrorCode.BREAKER_FORCED_OPEN
        assert breaker.admit(service)
        assert breaker.look(service).state.value == "closed"

    def test_whoever_waits_for_the_end_of_a_forced_state_asks_again_before_it(self, service):
        services.force(service, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=86_400)

        with pytest.raises(CircuitOpen) as caught:
            breaker.admit(service)

        assert 0 < caught.value.retry_after_sec <= breaker.FORCED_LOOK_SEC

    def test_forced_closed_lets_a_failing_service_be_called(self, service):
        services.force(service, CircuitState.FORCED_CLOSED, by="anna", why="false alarm", for_sec=60)

        fail(service, 20)

        assert breaker.look(service).state.value == "forced_closed"

    def test_overrides_of_one_service_hold_in_every_call(self, service):
        services.configure(service, {"failure_threshold": 2})

        fail(service, 2, CircuitBreakerConfig())

        assert breaker.look(service).state.value == "open"
        assert breaker.look(service).overrides == {"failure_threshold": 2}

    def test_what_operators_decided_outlives_the_data_of_redis(self, service):
        services.configure(service, {"failure_threshold": 2})
        services.force(service, CircuitState.FORCED_OPEN, by="anna", why="database move", for_sec=600)
        store.client().delete(f"hub:circuit:{service}")

        assert services.restore_lost() >= 1

        assert breaker.look(service).state.value == "forced_open"
        assert breaker.look(service).manual_why == "database move"
        assert breaker.look(service).overrides == {"failure_threshold": 2}
        assert services.restore_lost() == 0

    def test_reset_closes_and_forgets(self, service):
        opened(service)
        services.reset(service, by="anna", why="fixed")

        assert breaker.execute(service, lambda: "fine") == "fine"

    @pytest.mark.parametrize("why", ["a\x00b", "a\udcffb"])
    def test_a_reason_that_no_table_takes_holds_up_no_transition(self, service, why):
        services.reset(service, by="anna", why=why)
        services.force(service, CircuitState.FORCED_OPEN, by=why, why=why, for_sec=600)

        history.record_transitions()

        reasons = CircuitTransition.objects.filter(service_name=service).values_list("reason", flat=True)
        assert [reason.replace("?", "\ufffd") for reason in reasons] == ["a\ufffdb"] * 2

    def test_a_reset_without_redis_does_not_say_that_it_is_kept(self, service, own_redis):
        opened(service, CircuitBreakerConfig())
        own_redis.stop()

        with pytest.raises(IntegrationError, match=r"^E11240: .*try again when Redis is back"):
            services.reset(service, by="anna", why="fixed")
