"""Which processes `up` runs, and what it tells nobody."""

from dataclasses import replace
from pathlib import Path

import pytest

from hub.console import plan


@pytest.fixture
def site():
    return plan.Site(
        var_dir=Path("/hub/var"),
        redis_url="redis://:rpass@redis:6379/0",
        database_url="postgres://hub:dpass@db/hub",
        web_port=8000,
        flower_port=5555,
        flower_password="fpass",
        flower_link="",
        saga_modules="demo.sagas",
        demo_ports={"runtime": 1, "models": 2, "planner": 3},
    )


def test_no_secret_stands_on_a_command_line(site):
    specs = [*plan.hub_processes(site, with_relay=True), *plan.demo_processes(site)]

    words = " ".join(word for spec in specs for word in spec.command)

    assert not any(secret in words for secret in ("rpass", "dpass", "fpass"))


@pytest.mark.parametrize(("link", "told"), [("", "http://127.0.0.1:5555"), ("https://ops.example/flower", "https://ops.example/flower")])
def test_the_console_is_told_where_flower_is(site, link, told):
    web = next(spec for spec in plan.hub_processes(replace(site, flower_link=link), with_relay=True) if spec.name == "web")

    assert web.env["HUB_FLOWER_URL"] == told


def test_without_the_demo_there_are_no_processes_of_it(site):
    assert plan.demo_processes(replace(site, demo_ports={})) == []


def test_the_demo_is_told_the_broker_and_nothing_else_of_the_hub(site):
    for spec in plan.demo_processes(site):
        assert set(spec.env) <= {"BROKER_URL", "TOOLS_STATE", "DJANGO_SETTINGS_MODULE"}
        assert spec.env["DJANGO_SETTINGS_MODULE"] == ""  # else its layer would load the hub, and give a sign of life as its worker


def test_the_demos_celery_client_goes_to_the_same_redis_whatever_the_environment_says(site):
    told = plan.environment(site)

    assert told["CELERY_BROKER_URL"] == told["CELERY_RESULT_BACKEND"] == told["REDIS_URL"]


def test_the_record_has_what_scripts_look_for(site):
    record = plan.run_record(site, pid=7, admin_user="admin", processes={"web": 8})

    assert record["pid"] == 7
    assert record["web_url"] == "http://127.0.0.1:8000/"
    assert record["admin_url"] == "http://127.0.0.1:8000/admin/"
    assert record["processes"] == {"web": 8}
    assert {"flower_url", "redis_url", "database_url", "saga_modules", "admin_user", "demo"} <= set(record)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:6379/0", "redis://***@host:6379/0"),
        ("postgres://hub:secret@host/hub", "postgres://***@host/hub"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("sqlite:////var/hub.sqlite3", "sqlite:////var/hub.sqlite3"),
    ],
)
def test_passwords_are_not_shown(url, shown):
    assert plan.without_password(url) == shown
