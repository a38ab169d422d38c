"""The examples of docs/registry.md are understood by what they are for."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command

from hub.management.commands.services import Command
from registry_app import sync
from registry_app.checks import HealthCheckType
from registry_app.models import Service

TEXT = (Path(__file__).parents[2] / "docs" / "registry.md").read_text()
COMMANDS = re.findall(r"manage\.py services ([a-z]+ [^`#\n]*[^`#\n ])", TEXT)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "services.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)[1])
    return path


@pytest.mark.django_db
def test_its_file_registers_a_service_once(file):
    call_command("services", "sync", file, "--yes")
    call_command("services", "sync", file, "--check")

    row = Service.objects.get()
    assert (row.service_name, row.owner, row.tags) == ("L02_runtime", "platform", ["gpu"])
    assert sync.differences(sync.read(file), remove_others=True) == []


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_is_understood(words):
    Command().create_parser("manage.py", "services").parse_args(words.split())


def test_no_kind_of_check_is_left_out():
    assert len(COMMANDS) >= 3
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == {"check_type", *HealthCheckType}
