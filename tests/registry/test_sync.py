"""Services from a file, and the command: shown first, applied once, the same the second time."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.core.management import CommandError, call_command

from hub.errors import ErrorCode, IntegrationError
from registry_app import services, sync
from registry_app.models import Service
from tests.registry.samples import register

pytestmark = pytest.mark.django_db

TOML = """
owner = "platform"

[[services]]
service_name = "L02_runtime"
service_version = "0.1.0"
endpoint = "http://127.0.0.1:8002"
tags = ["gpu"]
health_check = { check_type = "http", endpoint = "/health", interval_sec = 10 }

[[services]]
service_name = "L03_tools"
service_version = "0.1.0"
endpoint = "http://127.0.0.1:8003"
"""

YAML = """
owner: platform
services:
  - {service_name: L02_runtime, service_version: 0.1.0, endpoint: "http://127.0.0.1:8002", tags: [gpu],
     health_check: {check_type: http, endpoint: /health, interval_sec: 10}}
  - {service_name: L03_tools, service_version: 0.1.0, endpoint: "http://127.0.0.1:8003"}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "services.toml"
    path.write_text(TOML)
    return path


def run(*arguments, capsys):
    call_command("services", *map(str, arguments))
    return capsys.readouterr().out


def test_the_difference_is_shown_and_applied_once(file, capsys):
    first = run("sync", file, "--yes", capsys=capsys)
    second = run("sync", file, "--yes", capsys=capsys)

    assert "+ L02_runtime at http://127.0.0.1:8002" in first
    assert '    health_check: {"check_type": "http", "endpoint": "http://127.0.0.1:8002/health", "interval_sec": 10}' in first
    assert first.endswith("2 changes applied\n")
    assert second == "2 services are registered as the file says\n"
    assert {(row.service_name, row.owner) for row in Service.objects.all()} == {("L02_runtime", "platform"), ("L03_tools", "platform")}


def test_a_change_is_shown_with_old_and_new(file, capsys):
    run("sync", file, "--yes", capsys=capsys)
    file.write_text(TOML.replace('"gpu"', '"cpu"'))

    assert '~ L02_runtime at http://127.0.0.1:8002\n    tags: ["gpu"] -> ["cpu"]\n' in run("sync", file, "--yes", capsys=capsys)


def test_nothing_is_changed_without_a_yes(file, capsys):
    with pytest.raises(CommandError, match="nothing was changed"):
        run("sync", file, capsys=capsys)

    assert Service.objects.count() == 0


def test_check_only_compares(file, capsys):
    with pytest.raises(SystemExit) as ended:
        run("sync", file, "--check", capsys=capsys)

    assert (ended.value.code, Service.objects.count()) == (1, 0)
    run("sync", file, "--yes", capsys=capsys)
    assert "as the file says" in run("sync", file, "--check", capsys=capsys)


def test_what_the_file_forgot_leaves_only_when_asked(file, capsys):
    run("sync", file, "--yes", capsys=capsys)
    other = register("L09", "http://127.0.0.1:8009")
    file.write_text(TOML.rpartition("[[services]]")[0])

    assert "as the file says" in run("sync", file, "--yes", capsys=capsys)
    assert "- L03_tools at http://127.0.0.1:8003" in run("sync", file, "--yes", "--prune", capsys=capsys)
    assert {one.service_name for one in services.all_services()} == {"L02_runtime", other.service_name}


def test_yaml_says_the_same(tmp_path, file):
    path = tmp_path / "services.yaml"
    path.write_text(YAML)

    assert sync.read(path) == sync.read(file)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("services = [", ErrorCode.JSON_MALFORMED),
        ("owner = 'x'", ErrorCode.ARGUMENT_MISSING),
        ("colour = 1\nservices = []", ErrorCode.ARGUMENT_UNKNOWN),
        ("services = [1]", ErrorCode.ARGUMENT_TYPE),
        (TOML.replace("8003", "8002").replace("L03_tools", "L02_runtime"), ErrorCode.CONFLICT),
        (TOML.replace("0.1.0", "latest"), ErrorCode.SERVICE_VERSION_INVALID),
    ],
)
def test_a_bad_file_is_refused_whole(file, text, code):
    file.write_text(text)

    with pytest.raises(IntegrationError) as refused:
        sync.read(file)

    assert refused.value.code is code
    assert Service.objects.count() == 0


def test_a_bad_entry_is_named_by_its_number(file):
    file.write_text(TOML.replace("http://127.0.0.1:8003", "127.0.0.1:8003"))

    with pytest.raises(IntegrationError, match=r"^E11004: service number 2: "):
        sync.read(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(IntegrationError, match=r"^E11930: .*none.toml cannot be read"):
        sync.read(tmp_path / "none.toml")


def test_the_list_shows_the_sick_first(capsys):
    register("well", "http://127.0.0.1:1", status="healthy")
    register("sick", "http://127.0.0.1:2", status="unhealthy")

    listed = json.loads(run("list", "--json", capsys=capsys))
    words = run("list", capsys=capsys)

    assert [one["service_name"] for one in listed] == ["sick", "well"]
    assert words.index("sick") < words.index("well")
    assert "2 instances: 1 unhealthy, 1 healthy; 0 in maintenance" in words


def test_one_service_is_shown_with_its_history(capsys):
    info = register("well", "http://127.0.0.1:1")
    services.deregister(info.service_id)
    register("well", "http://127.0.0.1:1")

    shown = run("show", "well", capsys=capsys)

    assert "well 0.1.0 at http://127.0.0.1:1: unknown, registered, not yet checked" in shown
    assert "deregistered: unknown -> unknown, deregistered by its layer" in shown


def test_the_registry_of_a_moment_is_shown(capsys):
    register("well", "http://127.0.0.1:1")

    now = datetime.now(UTC)

    assert json.loads(run("at", f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}", "--json", capsys=capsys)) == []
    assert "well" in run("at", now.astimezone(timezone(timedelta(hours=5))).isoformat(), capsys=capsys)


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        ("yesterday", "^E11909: not a moment"),
        ("0001-01-01T00:00+14:00", "^E11909: not a moment"),
        ("9999-12-31T23:59-14:00", "^E11909: not a moment"),
        ("2999-01-01T00:00", "^E11909: 2999-01-01 00:00:00 UTC is yet to come"),
        ("2020-01-01T00:00", "^E11909: changes are kept since "),
    ],
)
def test_the_command_says_of_what_moment_the_registry_is_not_known(moment, says):
    with pytest.raises(CommandError, match=says):
        call_command("services", "at", moment)


def test_an_operator_can_act(capsys):
    info = register("well", "http://127.0.0.1:1")

    assert run("maintenance", info.service_id, "--minutes", "5", capsys=capsys).startswith("out of routing until ")
    assert run("maintenance", info.service_id, "--end", capsys=capsys) == "back in routing\n"
    assert run("probe", info.service_id, capsys=capsys) == "unknown\n"
    assert run("deregister", info.service_id, "--reason", "gone", capsys=capsys) == "deregistered\n"
    with pytest.raises(CommandError, match="E11022"):
        run("probe", info.service_id, capsys=capsys)


def test_an_operator_may_give_the_beginning_of_an_id(capsys):
    info, other = register("well", "http://127.0.0.1:1"), register("well", "http://127.0.0.1:2")
    Service.objects.filter(service_id=other.service_id).update(service_id=f"{info.service_id[:8]}-another")

    assert run("probe", info.service_id[:14], capsys=capsys) == "unknown\n"
    with pytest.raises(CommandError, match=r"^E11908: several instances begin with "):
        run("probe", info.service_id[:8], capsys=capsys)
    with pytest.raises(CommandError, match=r"^E11022: "):
        run("deregister", info.service_id[:3], "--reason", "gone", capsys=capsys)
