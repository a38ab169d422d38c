"""The snippets that layers were written by run as they stand, in a process that knows nothing of Django."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from django.conf import settings
from pytest_httpserver import HTTPServer

from hub.redis_client import client
from tests.processes import ROOT, hub_environment

EXPECTED = [
    "routed: {'done': True}",
    "registry: L03_tool_execution 2 True",
    "Received: agent.created - {'agent_id': 'agent-123'}",
    "wildcard: True",
    "Circuit state: closed answer 0.0",
    "broadcast: {'L02_runtime': True, 'L03_tool_execution': True}",
    "Saga status: completed {'result': 'step1_done'}",
    "trace: ['execute_task']",
    "healthy: True True",
]


@pytest.fixture
def empty_redis(no_worker):
    client().flushdb()


@pytest.mark.usefixtures("empty_redis")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("module", ["L11_integration", "hub"])
def test_every_snippet_runs_as_it_stands(module, tmp_path, httpserver: HTTPServer):
    httpserver.expect_request("/execute", method="POST").respond_with_json({"done": True})
    httpserver.expect_request("/health").respond_with_json({"status": "ok"})
    environment = hub_environment({"PYTHONPATH": str(ROOT)})
    command = [sys.executable, str(ROOT / "tests/seed/script.py"), module, httpserver.url_for("").rstrip("/")]

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.splitlines() == EXPECTED, done.stderr
    written = [json.loads(line) for line in (tmp_path / "observability.log").read_text().splitlines()]
    assert "execute_task" in json.dumps(written)


def test_layers_that_start_at_once_make_the_tables_once(tmp_path):
    database = {"DATABASE_URL": f"sqlite:///{tmp_path}/hub.sqlite3", "REDIS_URL": settings.REDIS_URL}
    environment = hub_environment({"PYTHONPATH": str(ROOT), **database})
    script = "import asyncio\nfrom hub import IntegrationLayer\nasyncio.run(IntegrationLayer().start())"
    command = [sys.executable, "-c", script]
    layers = [subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]

    said = [layer.communicate(timeout=90)[1] for layer in layers]

    assert [layer.returncode for layer in layers] == [0, 0, 0], said


def test_a_missing_redis_is_said_in_one_line(tmp_path):
    environment = hub_environment({"PYTHONPATH": str(ROOT), "REDIS_URL": "redis://127.0.0.1:1/0"})
    script = "import asyncio\nfrom hub import IntegrationLayer\nasyncio.run(IntegrationLayer().start())"

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    last = done.stderr.strip().splitlines()[-1]
    assert "E11941: Redis at redis://127.0.0.1:1/0 does not answer" in last
    assert "python3 manage.py up" in last


def test_one_process_is_at_one_hub(tmp_path):
    environment = hub_environment({"PYTHONPATH": str(ROOT)})
    script = (
        "from hub import IntegrationLayer, IntegrationError\n"
        "IntegrationLayer('redis://:secret@127.0.0.1:1/0'), IntegrationLayer(), IntegrationLayer('redis://:secret@127.0.0.1:1/0')\n"
        "try:\n    IntegrationLayer('redis://127.0.0.1:2/0')\n"
        "except IntegrationError as exc:\n    print(exc)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.startswith("E11931: this process is at the hub of 127.0.0.1:1/0 already"), done.stderr
