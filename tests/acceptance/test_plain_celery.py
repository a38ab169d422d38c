"""A layer needs nothing of ours: a bare Celery app and the queue `hub`, through what happens to brokers and workers."""

import subprocess
import sys

import pytest
from celery import Celery
from celery.result import AsyncResult
from pytest_celery import CeleryTestSetup

from tests.processes import ROOT

SERVICE = {"service_name": "echo", "service_version": "1.0.0"}


@pytest.fixture
def service(httpserver):
    httpserver.expect_request("/hello").respond_with_json({"hello": "layer"})
    return SERVICE | {"endpoint": httpserver.url_for("").rstrip("/")}


def send(setup: CeleryTestSetup, task: str, **kwargs) -> AsyncResult:
    return setup.app.send_task(task, kwargs=kwargs, queue="hub")


def route(setup: CeleryTestSetup):
    return send(setup, "hub.requests.route", service_name="echo", method="GET", path="/hello").get(timeout=20)


def test_register_route_and_read_the_answer_or_the_code(celery_setup: CeleryTestSetup, service):
    registered = send(celery_setup, "hub.registry.register", service=service).get(timeout=20)

    answer = route(celery_setup)
    refused = send(celery_setup, "hub.requests.route", service_name="nobody", method="GET", path="/hello")

    assert (answer["status_code"], answer["body"], answer["service_id"]) == (200, {"hello": "layer"}, registered["service_id"])
    with pytest.raises(Exception, match=r"E11020: "):
        refused.get(timeout=20)


def test_work_waits_for_a_killed_worker_and_outlives_a_restart_of_the_broker(celery_setup: CeleryTestSetup, service):
    send(celery_setup, "hub.registry.register", service=service).get(timeout=20)
    celery_setup.worker.kill()
    waiting = send(celery_setup, "hub.requests.route", service_name="echo", method="GET", path="/hello").id

    celery_setup.broker.restart(force=True)
    celery_setup.worker.restart()

    url = celery_setup.broker.config()["url"]
    asker = Celery(broker=url, backend=url, set_as_current=False)  # the first one's subscription broke with the broker
    assert asker.AsyncResult(waiting).get(timeout=20)["status_code"] == 200


def test_a_worker_lives_through_a_restart_of_the_broker(celery_setup: CeleryTestSetup, service):
    send(celery_setup, "hub.registry.register", service=service).get(timeout=20)

    celery_setup.broker.restart(force=True)

    assert route(celery_setup)["status_code"] == 200
    assert celery_setup.worker.container.status == "running"


def test_an_interpreter_with_nothing_but_celery_is_enough(worker, transactional_db, settings, service):
    """The same in a process that cannot import the hub: another directory, isolated from it."""
    script = f"""
import sys
from celery import Celery
hub = Celery(broker={settings.REDIS_URL!r}, backend={settings.REDIS_URL!r})
def ask(task, **kwargs):
    return hub.send_task(task, kwargs=kwargs, queue="hub").get(timeout=20)
ask("hub.registry.register", service={service!r})
print(ask("hub.requests.route", service_name="echo", method="GET", path="/hello")["body"])
assert not [name for name in sys.modules if name.split(".")[0] in ("hub", "sagas", "registry_app", "django")]
"""
    done = subprocess.run([sys.executable, "-I", "-c", script], cwd=ROOT.parent, capture_output=True, text=True, timeout=60)

    assert done.stdout == "{'hello': 'layer'}\n", done.stderr


@pytest.mark.docker
def test_with_an_engine_the_image_builds_and_says_what_it_lacks():
    tag = "l11-integration-hub:test"
    subprocess.run(["docker", "build", "--tag", tag, "."], cwd=ROOT, check=True, timeout=600)

    done = subprocess.run(["docker", "run", "--rm", tag, "python", "manage.py", "doctor"], capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "E11941" in done.stdout
