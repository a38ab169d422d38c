"""The demo's services behave as a saga asks of its participants, and know nothing of the hub."""

import ast
import json
import subprocess
import sys

import pytest
import requests

from hub.embedded import free_port, wait_for_port
from tests.processes import ROOT

APP = {"context": {"app": "shop", "version": "1.0.0"}, "output": None}
STRANGERS = sorted([*(ROOT / "demo" / "services").glob("*.py"), *(ROOT / "demo" / "layers").glob("*.py"), ROOT / "demo" / "client.py"])


class Service:
    def __init__(self, name, state):
        self.name, self.state_path, self.port = name, state, free_port()
        self.start()

    def start(self):
        command = [sys.executable, "-m", f"demo.services.{self.name}", "--port", str(self.port), "--state", str(self.state_path)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, 10)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def post(self, path, body=APP, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(f"http://127.0.0.1:{self.port}{path}", json=body, headers=named, timeout=5)

    def get(self, path):
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)


@pytest.fixture
def start(tmp_path):
    running = []

    def started(name):
        running.append(Service(name, tmp_path / f"{name}.json"))
        return running[-1]

    yield started
    for service in running:
        service.kill()


def test_a_key_acts_once_and_answers_the_same_even_after_a_crash(start):
    runtime = start("runtime")

    first = runtime.post("/deploy", Idempotency_Key="k1")
    runtime.kill()
    runtime.start()
    again = runtime.post("/deploy", Idempotency_Key="k1")
    other = runtime.post("/deploy", Idempotency_Key="k2")

    assert (first.status_code, first.json()) == (again.status_code, again.json()) == (200, {"deployment": "shop@1.0.0"})
    assert other.status_code == 409
    assert runtime.get("/state").json()["deployments"] == {"shop": {"version": "1.0.0", "model": None}}


def test_undoing_what_never_happened_is_harmless(start):
    assert start("models").post("/reservations/release", Idempotency_Key="k:undo").json() == {"released": 0}


def test_an_action_that_arrives_after_its_undo_is_refused(start):
    planner = start("planner")
    planner.post("/plans/drop", Idempotency_Key="k:undo", X_Hub_Undo_Key="k:do")

    late = planner.post("/plans", Idempotency_Key="k:do")

    assert late.status_code == 409
    assert planner.get("/state").json() == {"plans": {}}


def test_a_refusal_changes_nothing_and_is_not_remembered(start):
    models = start("models")
    greedy = {"context": {"app": "shop", "tokens_per_minute": 2_000_000}}

    assert models.post("/reservations", greedy, Idempotency_Key="k").status_code == 409
    assert models.post("/reservations", Idempotency_Key="k").status_code == 200
    assert models.get("/state").json() == {"reservations": {"shop": 1000}}


@pytest.mark.parametrize(("body", "status"), [({}, 400), ({"context": 5}, 400), ([], 400)])
def test_a_malformed_request_is_refused(start, body, status):
    assert start("planner").post("/plans", body).status_code == status


def test_unknown_paths_are_not_found_and_health_is_told(start):
    runtime = start("runtime")

    assert runtime.post("/nowhere").status_code == runtime.get("/nowhere").status_code == 404
    assert runtime.get("/health").json() == {"status": "healthy", "service": "L02_runtime"}


@pytest.mark.parametrize("path", STRANGERS, ids=lambda path: path.name)
def test_they_import_nothing_of_the_hub(path):
    tree = ast.parse(path.read_text())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    third_party = {name.split(".")[0] for name in imports} - set(sys.stdlib_module_names) - {"demo"}
    assert third_party <= {"celery"}


def test_the_layers_tasks_hold_and_release_twice_as_once(tmp_path):
    script = """
from demo.layers.tools import release_tools, reserve_tools
context = {"app": "shop", "tools": 1}
assert reserve_tools(context) == reserve_tools(context) == {"tools": ["browser"]}
assert release_tools(context, None) == {"released": ["browser"]}
assert release_tools(context, None) == {"released": []}
"""
    state = tmp_path / "tools.json"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={"TOOLS_STATE": str(state)}, check=True, timeout=30)

    assert json.loads(state.read_text()) == {}
