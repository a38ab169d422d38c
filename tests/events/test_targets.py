import pytest

from hub.errors import IntegrationError
from hub.events.targets import HandlerTarget, HttpTarget, TaskTarget, check_target


@pytest.mark.parametrize(
    "target",
    [
        TaskTarget(task="l03.on_agent_created", queue="l03"),
        HttpTarget(service_name="L02_runtime", path="/events/agent"),
        HandlerTarget(handler="billing.on_agent_created"),
    ],
)
def test_a_task_a_path_or_a_handler_can_be_delivered_to(target):
    assert check_target(target) is target


@pytest.mark.parametrize(
    "target",
    [
        TaskTarget(task="hub.internal.run_step", queue="hub"),
        TaskTarget(task="hub.requests.route", queue="hub"),
        TaskTarget(task="celery.backend_cleanup", queue="l03"),
        TaskTarget(task="", queue="l03"),
        TaskTarget(task="l03.run", queue=""),
        TaskTarget(task="l03.run\n", queue="l03"),
        HttpTarget(service_name="L02_runtime", path="events"),
        HttpTarget(service_name="L02_runtime", path="//evil.example/x"),
        HttpTarget(service_name="L02_runtime", path="/a\r\nHost: evil"),
        HttpTarget(service_name="http://evil", path="/a"),
        HttpTarget(service_name="L02_runtime", path="/a", method="GET"),
        HandlerTarget(handler=""),
        None,
        {"task": "l03.run"},
    ],
)
def test_anything_else_cannot(target):
    with pytest.raises(IntegrationError) as caught:
        check_target(target)

    assert caught.value.code == "E11106"
