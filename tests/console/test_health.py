"""`/healthz`, `/readyz` and `manage.py doctor` against real servers that are there, gone or wrongly set."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import redis
from django.core.management import call_command
from django.urls import reverse

from hub.celery import QUEUES
from hub.circuits import fleet
from hub.console import health, workers
from hub.embedded import free_port, start_redis
from hub.events import presence
from hub.telemetry import readers
from tests.processes import ROOT, hub_environment, wait_until


@pytest.fixture(autouse=True)
def _circuits_that_never_lost_their_redis():
    fleet.forget()
    yield
    fleet.forget()


@pytest.fixture
def own_redis(tmp_path, settings):
    """A Redis of this test's own, where no worker beats unless the test says so; yields a client."""
    port = free_port()
    server = start_redis(tmp_path / "redis", port)
    settings.REDIS_URL = f"redis://127.0.0.1:{port}/0"
    workers.connection.cache_clear()
    yield redis.Redis(port=port)
    workers.connection.cache_clear()
    server.kill()
    server.wait()


@pytest.fixture
def hanging_redis(own_redis):
    """The same, which takes connections and never answers."""
    os.kill(own_redis.info("server")["process_id"], signal.SIGSTOP)


@pytest.fixture
def no_redis(settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    workers.connection.cache_clear()
    yield
    workers.connection.cache_clear()


def doctor(*arguments):
    out = io.StringIO()
    code = 0
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as end:
        code = end.code
    return code, out.getvalue()


def doctor_process(**env):
    command = [sys.executable, "manage.py", "doctor"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"HUB_NO_BOOTSTRAP": "1", **env}, capture_output=True, text=True, timeout=60)


def test_alive_asks_nobody(client, no_redis):
    answer = client.get("/healthz")  # no database either: pytest-django would refuse it here

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_ready_when_all_is_there(client, own_redis):
    workers.beat("hub@somewhere", QUEUES)

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert {name: check["ok"] for name, check in answer.json()["checks"].items()} == {
        "database": True,
        "redis": True,
        "circuits": True,
        "migrations": True,
        "worker": True,
    }
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_not_ready_without_a_worker(client, own_redis):
    answer = client.get("/readyz")

    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert [name for name, check in checks.items() if not check["ok"]] == ["worker"]
    assert checks["worker"]["code"] == "E11941"
    assert "celery -A hub worker" in checks["worker"]["advice"]


@pytest.mark.django_db
def test_not_ready_while_a_queue_of_the_hub_has_no_reader(client, own_redis):
    workers.beat("hub@half", ["hub", "hub.sagas"])
    workers.beat("l03@layer", ["l03"])

    found = client.get("/readyz").json()["checks"]["worker"]

    assert (found["ok"], found["code"]) == (False, "E11941")
    assert found["message"] == "no live worker reads hub.events, hub.control"
    assert "-Q hub.events,hub.control" in found["advice"]


@pytest.mark.django_db
def test_a_worker_of_a_layer_alone_makes_nothing_ready(client, own_redis):
    workers.beat("l03@layer", ["l03"])

    assert client.get("/readyz").json()["checks"]["worker"]["message"] == "no live worker reads hub, hub.sagas, hub.events, hub.control"


@pytest.mark.django_db
def test_not_ready_without_redis_and_no_address_is_told(client, no_redis, settings):
    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"]["redis"]["code"] == "E11941"
    assert answer.json()["checks"]["circuits"]["code"] == "E11240"
    assert "each process' own since" in answer.json()["checks"]["circuits"]["message"]
    assert settings.REDIS_URL.split(":")[-1].split("/")[0] not in answer.content.decode()


def test_only_reading_is_allowed(client):
    assert client.post("/readyz").status_code == 405


def test_a_worker_that_fell_silent_is_not_alive(own_redis):
    now = own_redis.time()[0]
    own_redis.zadd(workers.KEY, {"fresh@a": now - 2, "silent@b": now - workers.FRESH_SEC - 1})

    assert workers.live_workers() == {"fresh@a": set()}


def test_workers_long_gone_are_forgotten(own_redis):
    workers.beat("old@a", ["hub"])
    own_redis.zadd(workers.KEY, {"old@a": own_redis.time()[0] - workers.FORGET_SEC - 1})

    workers.beat("new@b", ["hub.sagas"])

    assert own_redis.zrange(workers.KEY, 0, -1) == [b"new@b"]
    assert own_redis.hgetall(workers.QUEUES_KEY) == {b"new@b": b"hub.sagas"}


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_beats_and_leaves_with_its_end(start_worker):
    worker = start_worker(queues="hub.control", concurrency=1)
    wait_until(lambda: workers.live_workers().get(worker.node) == {"hub.control"}, what="the heartbeat")

    worker.stop()

    assert worker.node not in workers.live_workers()


@pytest.mark.django_db
def test_doctor_is_content(own_redis):
    workers.beat("hub@somewhere", QUEUES)
    own_redis.set(readers.ASKED_KEY, own_redis.time()[0])
    presence.beat()

    code, words = doctor()

    assert (code, "WRONG" in words) == (0, False), words


@pytest.mark.django_db
def test_doctor_misses_the_relay(own_redis):
    workers.beat("hub@somewhere", QUEUES)
    own_redis.set(readers.ASKED_KEY, own_redis.time()[0])
    own_redis.set(presence.KEY, own_redis.time()[0] - 100)

    code, words = doctor()

    assert code == 1
    assert "WRONG  relay: E11900" in words
    assert "to do: run: manage.py relay" in words


def test_doctor_names_a_saga_module_that_is_not_there(tmp_path):
    done = doctor_process(HUB_SAGA_MODULES="no.such", HUB_VAR_DIR=str(tmp_path))

    assert done.returncode == 1
    assert "WRONG  sagas: E11931: saga module 'no.such' cannot be imported" in done.stdout
    assert "to do: correct HUB_SAGA_MODULES" in done.stdout


@pytest.mark.parametrize(("text", "why"), [("x = missing", "NameError: name 'missing'"), ("x = (", "SyntaxError: ")])
def test_doctor_names_a_saga_module_that_does_not_load_and_its_line(tmp_path, text, why):
    module = tmp_path / "own_sagas.py"
    module.write_text(f"import hub\n{text}\n")

    done = doctor_process(HUB_SAGA_MODULES="own_sagas", HUB_VAR_DIR=str(tmp_path), PYTHONPATH=str(tmp_path))

    assert done.returncode == 1
    assert f"WRONG  sagas: E11931: saga module 'own_sagas' cannot be imported: {why}" in done.stdout
    assert "own_sagas.py, line 2)" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.django_db
def test_doctor_misses_beat(own_redis):
    workers.beat("hub@somewhere", QUEUES)

    code, words = doctor()

    assert code == 1
    assert "WRONG  beat: E11900" in words
    assert "celery -A hub beat" in words


@pytest.mark.django_db
def test_doctor_names_a_redis_that_would_lose_tasks(own_redis):
    workers.beat("hub@somewhere", QUEUES)
    own_redis.config_set("maxmemory-policy", "allkeys-lru")
    own_redis.config_set("appendonly", "no")

    code, words = doctor()

    assert code == 1
    assert "WRONG  redis eviction: E11931" in words
    assert "to do: set maxmemory-policy noeviction" in words
    assert "WRONG  redis persistence: E11931" in words


@pytest.mark.django_db
def test_doctor_does_not_ask_a_redis_that_hangs_again_and_again(hanging_redis):
    began = time.monotonic()

    code, words = doctor()

    assert time.monotonic() - began < 5, words
    assert code == 1
    assert "WRONG  redis: E11941: Redis does not answer" in words
    assert "WRONG  beat: E11941: not asked: see what is said of Redis" in words
    assert "ok     settings" in words


@pytest.mark.django_db
def test_the_overview_waits_for_a_redis_that_hangs_for_a_few_seconds_only(hanging_redis, admin_client):
    began = time.monotonic()

    html = admin_client.get(reverse("admin:index")).content.decode()

    assert time.monotonic() - began < 8
    assert "Redis does not answer" in html


@pytest.mark.django_db
def test_doctor_speaks_json(own_redis):
    code, text = doctor("--json")

    assert code == 1
    assert json.loads(text)["worker"]["code"] == "E11941"


def test_doctor_without_a_database_says_so_without_a_traceback(tmp_path):
    done = doctor_process(DATABASE_URL=f"postgres://hub:secret@127.0.0.1:{free_port()}/hub", HUB_VAR_DIR=str(tmp_path))

    assert done.returncode == 1
    assert "WRONG  database: E11940: the database (postgresql) does not answer" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_which_migrations_are_missing(tmp_path):
    done = doctor_process(DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3", HUB_VAR_DIR=str(tmp_path))

    assert done.returncode == 1
    assert "WRONG  migrations: E11933:" in done.stdout
    assert "to do: run: manage.py migrate" in done.stdout


@pytest.mark.django_db
def test_one_failing_check_does_not_hide_the_others(own_redis):
    findings = health.examine({"worker": health.worker, "redis": health.broker})

    assert [finding.is_ok for finding in findings] == [False, True]


def test_the_environment_of_test_processes_names_the_test_database(db):
    assert "test" in hub_environment()["DATABASE_URL"]


@pytest.fixture
def full_redis(own_redis):
    """A Redis that answers, and takes no changes for want of memory."""
    own_redis.config_set("maxmemory", "1")


@pytest.mark.django_db
def test_doctor_does_not_blame_the_workers_for_a_redis_that_is_full(full_redis):
    code, words = doctor()

    assert code == 1
    assert "WRONG  redis: E11941: Redis answers, but takes no changes" in words
    assert "because: command not allowed when used memory > 'maxmemory'" in words
    assert "to do: give it memory" in words
    assert "celery -A hub worker" not in words


@pytest.mark.django_db
def test_a_redis_that_is_full_is_not_ready(client, full_redis):
    checks = client.get("/readyz").json()["checks"]

    assert (checks["redis"]["code"], checks["worker"]["message"]) == ("E11941", "Redis answers, but takes no changes")


@pytest.mark.django_db
def test_the_overview_says_that_redis_is_full_and_not_that_nobody_lives(full_redis, admin_client):
    html = admin_client.get(reverse("admin:index")).content.decode()

    assert "Redis takes no changes" in html
    assert "no live worker reads" not in html
