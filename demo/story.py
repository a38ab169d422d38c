"""What `manage.py demo` does: use a running hub as a layer would, then ask the services themselves what is true."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery

LAYERS = {"runtime": "L02_runtime", "models": "L04_model_gateway", "planner": "L05_planning"}
FINAL = ("completed", "compensated", "failed", "needs_operator")
ANSWER_TIMEOUT_SEC = 30.0
SAGA_TIMEOUT_SEC = 60.0


class Unexpected(Exception):
    """The hub or a service did something else than the story says."""


class Story:
    """One telling, against the hub of a run record (`var/run.json`); `say` gets a line per step."""

    def __init__(self, record: dict[str, Any], var_dir: Path, say: Callable[[str], None]) -> None:
        self._record, self._var_dir, self._say = record, var_dir, say
        self._hub = Celery(broker=record["redis_url"], backend=record["redis_url"], set_as_current=False)

    def tell(self) -> None:
        """Register, route, broadcast, complete a saga, undo another; `Unexpected` at the first thing that is not so."""
        self._register()
        self._route()
        self._broadcast()
        self._run_saga("deploy_application", "completed", agents=3)
        self._run_saga("deploy_application_broken", "compensated", agents=500)

    def _register(self) -> None:
        for name, service in LAYERS.items():
            url = self._record["demo"][name]
            check = {"check_type": "http", "endpoint": f"{url}/health", "interval_sec": 10}
            info = {"service_name": service, "service_version": "1.0.0", "endpoint": url, "health_check": check}
            answer = self._ask("hub.registry.register", service=info)
            self._say(f"registered  {service:<20}{url}   {answer['status']}")

    def _route(self) -> None:
        answer = self._ask("hub.requests.route", service_name="L02_runtime", method="POST", path="/execute", data={"task": "example"})
        _expect(answer["status_code"] == 200 and answer["body"]["result"] == "done", "the routed request", answer)
        self._say(f"routed      POST /execute   {answer['status_code']} in {answer['duration_ms']:.0f} ms, trace {answer['trace_id']}")

    def _broadcast(self) -> None:
        outcomes = self._ask("hub.requests.broadcast", service_names=list(LAYERS.values()), method="GET", path="/health")
        _expect(all(outcomes[service]["ok"] for service in LAYERS.values()), "the broadcast", outcomes)
        self._say(f"broadcast   GET /health     {len(outcomes)} of {len(LAYERS)} services answered")

    def _run_saga(self, name: str, expected: str, *, agents: int) -> None:
        app = f"shop-{uuid.uuid4().hex[:8]}"
        run = self._ask("hub.sagas.start", saga_name=name, context={"app": app, "version": "1.2.0", "agents": agents})
        give_up_at = time.monotonic() + SAGA_TIMEOUT_SEC
        while run["status"] not in FINAL and time.monotonic() < give_up_at:
            time.sleep(0.1)
            run = self._ask("hub.sagas.status", execution_id=run["execution_id"])
        self._say(f"saga        {name}   {run['status']}   {self._record['admin_url']}sagas/sagaexecution/{run['execution_id']}/change/")
        for step in run.get("steps", []):
            why = f"   {step['error']['message']}" if step.get("error") else ""
            self._say(f"              {step['step_id']:<10}{step['status']}{why}")
        _expect(run["status"] == expected, f"saga {name} to end {expected}", run["status"])
        self._compare(app, exists=expected == "completed")

    def _compare(self, app: str, *, exists: bool) -> None:
        """Ask each participant for its own state: all must know the application, or none."""
        known = {
            "release note": (self._var_dir / "demo" / "releases" / f"{app}.json").exists(),
            "L02_runtime": app in self._state("runtime")["deployments"],
            "L03_tool_execution": app in json.loads((self._var_dir / "demo" / "tools.json").read_text()),
            "L04_model_gateway": app in self._state("models")["reservations"],
            "L05_planning": app in self._state("planner")["plans"],
        }
        _expect(set(known.values()) == {exists}, f"{app} to be {'known to all' if exists else 'unknown to all'}", known)
        self._say(f"              the services' own state agrees: {app} is {'there' if exists else 'gone'} in all {len(known)} places")

    def _state(self, name: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._record['demo'][name]}/state", timeout=5) as answer:  # noqa: S310 (our own services)
            state: dict[str, Any] = json.load(answer)
        return state

    def _ask(self, task: str, **kwargs: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._hub.send_task(task, kwargs=kwargs, queue="hub").get(timeout=ANSWER_TIMEOUT_SEC)
        return answer


def _expect(true: bool, what: str, found: object) -> None:
    if not true:
        raise Unexpected(f"expected {what}, found {json.dumps(found, default=str)[:2000]}")
