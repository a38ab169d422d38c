"""`manage.py up`: what it prepares, and how it refuses in one line."""

import json
import os
import socket
import subprocess
import sys

import pytest

from hub.console import run_record, startup
from hub.embedded import free_port
from hub.errors import ErrorCode, IntegrationError
from tests.processes import ROOT


def up(var_dir, *arguments, **env):
    own = {"HUB_NO_BOOTSTRAP": "1", "HUB_VAR_DIR": str(var_dir), "REDIS_URL": "", "DATABASE_URL": f"sqlite:///{var_dir}/hub.sqlite3", **env}
    command = [sys.executable, "manage.py", "up", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, timeout=60)


@pytest.fixture
def taken_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def refused(done, code):
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"up: {code}: ")


def test_a_redis_that_is_not_there_is_one_line(tmp_path):
    refused(up(tmp_path, REDIS_URL=f"redis://:secret@127.0.0.1:{free_port()}/0"), "E11941")


def test_a_database_that_is_not_there_is_one_line_and_nothing_stays_behind(tmp_path):
    done = up(tmp_path, DATABASE_URL=f"postgres://hub:secret@127.0.0.1:{free_port()}/hub")

    refused(done, "E11940")
    assert "secret" not in done.stderr + done.stdout
    assert not (tmp_path / "run.json").exists()


def test_a_saga_module_that_is_not_there_is_one_line(tmp_path):
    refused(up(tmp_path, HUB_SAGA_MODULES="no.such"), "E11931")


def test_a_taken_port_is_one_line(tmp_path, taken_port):
    refused(up(tmp_path, "--port", str(taken_port)), "E11931")


def test_a_second_up_on_the_same_data_is_refused(tmp_path):
    tmp_path.joinpath("run.json").write_text(f'{{"pid": {os.getpid()}, "web_url": "http://127.0.0.1:8000/"}}')
    with run_record.take_lock(tmp_path, running=dict):
        done = up(tmp_path)

    refused(done, "E11921")
    assert "http://127.0.0.1:8000/" in done.stderr


def test_the_usual_port_is_taken_if_free_and_another_if_not(taken_port):
    free, wanted = free_port(), free_port()

    assert startup.choose_port(None, free) == free
    assert startup.choose_port(None, taken_port) not in (taken_port, 0)
    assert startup.choose_port(wanted, taken_port) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names without a file")
def test_two_that_start_at_once_choose_different_ports():
    port = free_port()
    choose = f"from hub.console.startup import choose_port; print(choose_port(None, {port}), flush=True); input()"
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "hub.settings"}
    with subprocess.Popen([sys.executable, "-c", choose], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert int(other.stdout.readline()) == port  # and nobody listens on it yet

        assert startup.choose_port(None, port) != port
        with pytest.raises(IntegrationError, match=f"port {port} cannot be used"):
            startup.choose_port(port, 8000)
        other.kill()
        other.wait()

    assert startup.choose_port(None, port) == port


@pytest.mark.parametrize("port", [0x10000, 0, -1])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(IntegrationError) as exc:
        startup.choose_port(port, 8000)

    assert exc.value.code is ErrorCode.CONFIG_INVALID


def test_a_demo_service_keeps_its_port_unless_somebody_took_it(tmp_path, taken_port):
    path = tmp_path / "demo" / "ports.json"
    first = startup.demo_ports(path, ["runtime", "models"])

    assert startup.demo_ports(path, ["runtime", "models"]) == first
    path.write_text(json.dumps(first | {"models": taken_port}))
    later = startup.demo_ports(path, ["runtime", "models"])

    assert later["runtime"] == first["runtime"]
    assert later["models"] != taken_port


def test_redis_keeps_its_port_unless_somebody_took_it(tmp_path, taken_port):
    path = tmp_path / "redis_port"
    first = startup.kept_port(path)

    assert startup.kept_port(path) == first
    path.write_text(str(taken_port))
    assert startup.kept_port(path) != taken_port
    path.write_text("nonsense")
    assert startup.is_free(startup.kept_port(path))


def test_ports_that_a_full_disk_left_half_written_are_chosen_anew(tmp_path):
    path = tmp_path / "ports.json"
    for left in ("", '{"runtime": 5', "[]", '{"runtime": "8"}', '{"runtime": 99999}'):
        path.write_text(left)

        assert startup.is_free(startup.demo_ports(path, ["runtime"])["runtime"])


def test_why_redis_does_not_start_is_shown(tmp_path):
    files = tmp_path / "redis" / "appendonlydir"
    files.mkdir(parents=True)
    (files / "appendonly.aof.manifest").write_text("what another version wrote")

    done = up(tmp_path)

    refused(done, "E11900")
    assert "redis | " in done.stdout
    assert "manifest" in done.stdout


@pytest.mark.django_db
def test_an_administrator_is_made_once(client):
    name, password = startup.ensure_admin()

    assert client.login(username=name, password=password)
    assert startup.ensure_admin() == (name, None)


def test_reset_leaves_what_is_not_the_hubs(tmp_path):
    for name in ("hub.sqlite3", "hub.sqlite3-wal", "run.json", "flower.dat", "flower_password", "secret_key", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)

    startup.reset(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {"secret_key", "notes.txt"}


def test_the_demo_without_a_hub_is_one_line(tmp_path):
    env = os.environ | {"HUB_NO_BOOTSTRAP": "1", "HUB_VAR_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "manage.py", "demo"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "python3 manage.py up" in done.stderr
