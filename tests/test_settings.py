"""Which settings are refused, and what the database is asked for when a connection is made."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import certifi
import pytest
from django.db import connection
from pydantic import ValidationError

from hub.conf import HubSettings
from hub.console import run_record
from tests.processes import ROOT


@pytest.fixture
def up(tmp_path):
    """Return a function that writes down what an `up` in `tmp_path` runs; that `up` lives as long as the test."""
    held = run_record.take_lock(tmp_path, running=dict)
    yield lambda **record: run_record.write(tmp_path / "run.json", {"pid": os.getpid(), **record})
    held.close()


@pytest.mark.parametrize("value", ["inf", "1e400", "nan", "0", "soon"])
def test_a_time_that_never_comes_is_refused(monkeypatch, value):
    monkeypatch.setenv("HUB_SAGA_SWEEP_SEC", value)

    with pytest.raises(ValidationError, match="saga_sweep_sec"):
        HubSettings()


def test_what_runs_here_is_asked_for_its_redis_and_database_where_none_is_named(tmp_path, monkeypatch, up):
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    hub = HubSettings(var_dir=tmp_path)
    assert hub.resolved_database_url() == f"sqlite:///{tmp_path}/hub.sqlite3"

    record = {"redis_url": "redis://there/0", "database_url": "postgres://there/hub"}
    up(**record)
    assert {"redis_url": hub.resolved_redis_url(), "database_url": hub.resolved_database_url()} == record

    monkeypatch.setenv("DATABASE_URL", "postgres://here/hub")
    assert HubSettings(var_dir=tmp_path).resolved_database_url() == "postgres://here/hub"


def test_an_up_that_was_killed_is_none_though_its_number_is_another_process_by_now(tmp_path, monkeypatch):
    monkeypatch.delenv("REDIS_URL")
    run_record.write(tmp_path / "run.json", {"pid": os.getpid(), "redis_url": "redis://gone/0"})
    run_record.take_lock(tmp_path, running=dict).close()

    assert HubSettings(var_dir=tmp_path).resolved_redis_url() == "redis://localhost:6379"


@pytest.mark.parametrize("database_url", ["", "sqlite:///some/hub.sqlite3"])
def test_what_is_relative_lies_below_the_checkout_wherever_a_process_starts(tmp_path, database_url):
    ask = f"""
import sys
sys.path.append("{ROOT}")
from hub import settings
print(settings.HUB.var_dir, settings.DATABASES["default"]["NAME"])
"""
    env = {**os.environ, "HUB_VAR_DIR": "some", "DATABASE_URL": database_url, "HUB_SECRET_KEY": "so that none is kept"}
    (ROOT / "some").mkdir()
    try:
        said = [
            subprocess.run([sys.executable, "-c", ask], cwd=cwd, env=env, capture_output=True, text=True, timeout=60).stdout.split()
            for cwd in (ROOT, tmp_path)
        ]
    finally:
        (ROOT / "some").rmdir()

    assert said == [[f"{ROOT}/some", f"{ROOT}/some/hub.sqlite3"]] * 2


def test_files_that_are_relative_lie_below_the_checkout_too(monkeypatch):
    monkeypatch.setenv("HUB_OBSERVABILITY_OUTPUT_FILE", "var/spans.jsonl")
    assert HubSettings().observability_output_file == f"{ROOT}/var/spans.jsonl"

    for text in ("", "-", "/srv/spans.jsonl"):
        monkeypatch.setenv("HUB_OBSERVABILITY_OUTPUT_FILE", text)
        assert HubSettings().observability_output_file == text


def test_the_settings_of_another_program_are_named_in_one_line():
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "shop.settings", "HUB_NO_BOOTSTRAP": "1"}

    done = subprocess.run([sys.executable, "manage.py", "doctor"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "DJANGO_SETTINGS_MODULE names shop.settings, which is not here. Unset it: it is meant for another program."
    )


def test_a_command_beside_up_knows_its_sagas_unless_it_is_told_others(tmp_path, monkeypatch, up):
    monkeypatch.delenv("HUB_SAGA_MODULES", raising=False)
    up(saga_modules="l05.sagas,demo.sagas")
    assert HubSettings(var_dir=tmp_path).resolved_saga_modules() == ["l05.sagas", "demo.sagas"]

    monkeypatch.setenv("HUB_SAGA_MODULES", " l06.sagas ,")
    assert HubSettings(var_dir=tmp_path).resolved_saga_modules() == ["l06.sagas"]

    monkeypatch.setenv("HUB_SAGA_MODULES", "")
    assert HubSettings(var_dir=tmp_path).resolved_saga_modules() == []


def test_doctor_beside_up_finds_the_sagas_of_up(tmp_path, up):
    up(saga_modules="demo.sagas")
    env = {name: value for name, value in os.environ.items() if name != "HUB_SAGA_MODULES"}

    ended = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        env=env | {"HUB_NO_BOOTSTRAP": "1", "DJANGO_SETTINGS_MODULE": "hub.settings", "HUB_VAR_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "ok     sagas: 2 defined" in ended.stdout


@pytest.mark.parametrize("value", ['{"L02_runtime": "Bearer sk-live-4711"', '["Bearer sk-live-4711"]', '{"L02_runtime": ["sk-live-4711"]}'])
def test_a_wrong_setting_is_named_and_its_value_not_shown(value):
    env = {**os.environ, "HUB_REQUEST_CREDENTIALS": value}

    ended = subprocess.run([sys.executable, "-c", "import hub.settings"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert ended.stderr.startswith("E11931: a setting has a wrong value: HUB_REQUEST_CREDENTIALS: ")
    assert "4711" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "nonsense"),
        ("REDIS_URL", "http://127.0.0.1:6379"),
        ("REDIS_URL", "redis://127.0.0.1:many/0"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql://hub@db/hub"),
        ("DATABASE_URL", "postgres://hub:a/b@db/hub"),
        ("HUB_LOG_LEVEL", "bogus"),
        ("HUB_ALLOWED_ENDPOINT_NETWORKS", "10.0.0.0/33"),
        ("HUB_ALLOWED_ENDPOINT_NETWORKS", "10.0.0.300"),
        ("HUB_ALLOWED_ENDPOINT_NETWORKS", "https://example.org"),
        ("HUB_REQUEST_CA_FILE", "/nowhere/ca.pem"),
        ("HUB_REQUEST_CA_FILE", __file__),
    ],
)
def test_what_a_process_could_not_work_with_is_refused_at_its_start(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError, match=name.removeprefix("HUB_") if name.endswith("_URL") else name.removeprefix("HUB_").lower()):
        HubSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "rediss://:p%40ss@redis.internal:6380/3"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("DATABASE_URL", "postgresql://hub:p%40ss@/hub?host=/run/postgresql"),
        ("DATABASE_URL", "sqlite:////srv/hub.sqlite3"),
        ("HUB_LOG_LEVEL", "debug"),
        ("HUB_ALLOWED_ENDPOINT_NETWORKS", "10.0.0.0/8, fd00::/8, *.svc.cluster.local, planner"),
        ("HUB_REQUEST_CA_FILE", certifi.where()),
        ("HUB_REQUEST_CA_FILE", str(Path(certifi.where()).parent)),
    ],
)
def test_what_a_process_can_work_with_is_taken(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    HubSettings()


@pytest.mark.parametrize(("name", "value"), [("HUB_VAR_DIR", "/proc/nope"), ("DATABASE_URL", "mysql://hub:4711@db/hub")])
def test_the_doctor_says_which_setting_is_wrong_in_one_line(name, value):
    env = {**os.environ, "HUB_NO_BOOTSTRAP": "1", name: value}

    ended = subprocess.run([sys.executable, "manage.py", "doctor"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
    assert ended.stderr.startswith(f"E11931: a setting has a wrong value: {name}: ")
    assert "4711" not in ended.stderr


def run_with(https, *command):
    env = {**os.environ, "HUB_NO_BOOTSTRAP": "1", "DJANGO_SETTINGS_MODULE": "hub.settings", "HUB_HTTPS": https}
    return subprocess.run([sys.executable, *command], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("https", "complaints"), [("false", {"W004", "W012", "W016"}), ("true", set())])
def test_behind_https_cookies_are_secure_and_browsers_stay_with_it(https, complaints):
    ended = run_with(https, "manage.py", "check", "--deploy")

    assert set(re.findall(r"security\.(W\d+)", ended.stderr)) & {"W004", "W012", "W016"} == complaints


def test_with_the_settings_of_production_the_check_finds_nothing():
    given = {
        "HUB_HTTPS": "true",
        "HUB_SECRET_KEY": "".join(map(chr, range(48, 112))),
        "HUB_TELEMETRY_TOKEN": "t" * 32,
        "HUB_ALLOWED_HOSTS": "hub.example.org",
        "DATABASE_URL": "postgres://hub@127.0.0.1:1/hub",
    }
    env = {**os.environ, "HUB_NO_BOOTSTRAP": "1", "DJANGO_SETTINGS_MODULE": "hub.settings", **given}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]

    ended = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:8000", 200), ("hub.example.org", 200), ("evil.example.org", 400)])
def test_the_hub_answers_its_own_health_check_under_whatever_names_it_is_reached(host, status):
    env = {**os.environ, "HUB_NO_BOOTSTRAP": "1", "DJANGO_SETTINGS_MODULE": "hub.settings", "HUB_ALLOWED_HOSTS": "hub.example.org"}
    ask = f"""
import django
django.setup()
from django.test import Client
print(Client().get("/healthz", headers={{"Host": "{host}"}}).status_code)
"""

    ended = subprocess.run([sys.executable, "-c", ask], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.stdout.split() == [str(status)], ended.stderr


ASK = """
import django
django.setup()
from django.test import Client
for said in ("https", "http", ""):
    answer = Client().get("/healthz", headers={"Host": "localhost"} | ({"X-Forwarded-Proto": said} if said else {}))
    print(answer.status_code, answer.wsgi_request.is_secure(), "Strict-Transport-Security" in answer)
"""


@pytest.mark.parametrize(
    ("https", "lines"),
    [
        ("true", ["200 True True", "200 False False", "200 False False"]),
        ("false", ["200 False False", "200 False False", "200 False False"]),
    ],
)
def test_the_word_of_a_proxy_counts_only_where_there_is_one(https, lines):
    ended = run_with(https, "-c", ASK)

    assert ended.stdout.splitlines() == lines, ended.stderr


def test_a_body_as_large_as_the_settings_allow_is_read():
    ask = """
import django
django.setup()
from django.test import RequestFactory
from hub.api.bodies import StrictJson
body = '"' + "x" * 4_990_000 + '"'
print(len(StrictJson().parse_body(RequestFactory().post("/", body, content_type="application/json"))))
"""
    env = {**os.environ, "HUB_NO_BOOTSTRAP": "1", "DJANGO_SETTINGS_MODULE": "hub.settings", "HUB_REQUEST_MAX_BODY_BYTES": "5000000"}

    ended = subprocess.run([sys.executable, "-c", ask], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.stdout.split() == ["4990000"], ended.stderr


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="asked of SQLite only")
@pytest.mark.parametrize(("name", "value"), [("journal_mode", "wal"), ("synchronous", 1)])
def test_readers_of_sqlite_do_not_wait_for_its_writer_and_a_commit_not_for_the_disk(name, value):
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")

        assert cursor.fetchone() == (value,)


def test_a_postgres_that_falls_silent_is_given_up_within_seconds(db):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no network")
    connection.ensure_connection()

    with socket.socket(fileno=os.dup(connection.connection.fileno())) as line:
        patience_ms, probes = (line.getsockopt(socket.IPPROTO_TCP, one) for one in (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE))
        is_probed = line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    assert (patience_ms, probes, bool(is_probed)) == (10_000, 5, True)
