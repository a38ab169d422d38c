"""The container files say what the code does: their commands, queues, variables and addresses are held against it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from celery.bin.celery import celery as celery_command
from django.core.management import get_commands
from django.urls import resolve

from hub.celery import app
from hub.conf import HubSettings
from hub.console import env_example
from tests.processes import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROCFILE = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
OTHER_VARIABLES = {"DATABASE_URL", "REDIS_URL", "FLOWER_BASIC_AUTH", "OTEL_EXPORTER_OTLP_ENDPOINT"}
QUEUES = {queue.name for queue in app.conf.task_queues}
BIN = Path(sys.executable).parent


def commands():
    """All commands of the hub: those of the compose file, the image's own, those of the Procfile."""
    found = {f"compose {name}": service["command"] for name, service in OURS.items() if "command" in service}
    found["image"] = yaml.safe_load(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[-1])
    return found | {f"Procfile {name}": command.split() for name, command in PROCFILE.items()}


def queues_of(command):
    return set(command[command.index("-Q") + 1].split(","))


def test_the_command_celery_finds_the_hub_without_a_path():
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")}

    ended = subprocess.run([BIN / "celery", "-A", "hub", "report"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 0, ended.stderr[-500:]
    assert "hub.sagas" in ended.stdout


def test_the_compose_file_fits_its_schema():
    done = subprocess.run([BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"])
    assert done.returncode == 0


def test_the_dockerfile_has_no_faults():
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_all_processes_of_the_design_are_there():
    assert set(SERVICES) == {"postgres", "redis", "migrate", "web", "worker", "beat", "relay", "flower"}
    assert set(PROCFILE) == {"release", "web", "worker", "beat", "relay", "flower"}


@pytest.mark.parametrize("command", commands().values(), ids=commands().keys())
def test_every_command_exists(command):
    match command[:3]:
        case ["python", "manage.py", name]:
            assert name in get_commands()
        case ["celery", "-A", "hub"]:
            assert command[3] in celery_command.commands
        case ["gunicorn", "hub.wsgi:application", *_]:
            options = [part.replace("${PORT:-8000}", "8000") for part in command[1:]]
            assert subprocess.run([BIN / "gunicorn", "--check-config", *options], cwd=ROOT).returncode == 0
        case _:
            pytest.fail(f"unknown kind of command: {command}")


@pytest.mark.parametrize("before", [PROCFILE["release"], DOCKERFILE])
def test_styles_and_scripts_are_gathered_before_the_web_process_serves_them(before):
    assert "manage.py collectstatic --noinput" in before


@pytest.mark.parametrize("command", [SERVICES["worker"]["command"], PROCFILE["worker"].split()])
def test_the_worker_reads_every_queue(command):
    assert queues_of(command) == QUEUES


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name):
    variables = set(OURS[name]["environment"])

    assert variables - OTHER_VARIABLES <= {f"HUB_{field.upper()}" for field in HubSettings.model_fields}
    assert {"DATABASE_URL", "REDIS_URL", "HUB_SECRET_KEY"} <= variables


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_the_file_env_reaches_the_processes(name):
    assert OURS[name]["env_file"] == [{"path": ".env", "required": False}]


def test_every_variable_of_the_compose_file_is_explained():
    used = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))

    assert used - {"HUB_VERSION", "PORT", "FLOWER_PORT"} <= set(re.findall(r"^# ([A-Z_]+)=", env_example.render(), re.MULTILINE))


def test_the_list_of_settings_is_that_of_the_code():
    assert (ROOT / ".env.example").read_text() == env_example.render(), "run: python -m hub.console.env_example > .env.example"


@pytest.mark.parametrize("name", OURS)
def test_one_image_without_rights(name):
    service = OURS[name]

    assert service["image"] == OURS["web"]["image"]
    assert service["user"] == "10001:10001"
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])


def test_the_image_runs_as_nobody_in_particular():
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert "HUB_NO_BOOTSTRAP=1" in DOCKERFILE


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate", "beat", "relay"}))
def test_what_can_be_asked_is_asked(name):
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_health_addresses_exist():
    checks = [DOCKERFILE, str(SERVICES["web"]["healthcheck"]["test"])]

    for path in re.findall(r"127\.0\.0\.1:8000(/[a-z]+)", " ".join(checks)):
        assert resolve(path)


def test_nothing_is_reachable_from_outside_unless_somebody_opens_it():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_references_inside_the_compose_file_resolve():
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"])


def test_the_build_gets_what_the_image_runs_and_no_more():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:].rstrip("/") for line in ignored if line.startswith("!")}

    assert ignored[1] == "*"
    assert kept == {
        "requirements.txt",
        "manage.py",
        "bootstrap.py",
        "L11_integration.py",
        "hub",
        "registry_app",
        "sagas",
        "templates",
        "demo",
    }
    assert all((ROOT / name).exists() for name in kept)
