"""The pictures of the README, taken of the real pages; `HUB_PICTURES_DIR=docs/images` keeps them there."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from hub.celery import QUEUES
from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.console import workers
from hub.redis_client import client as redis_client
from hub.routing.models import RoutedRequest
from hub.telemetry import readers
from registry_app.values import ServiceStatus
from sagas import events, plan, store
from sagas.models import SagaExecution
from sagas.states import Direction
from tests.console.pages import saga
from tests.registry.samples import register

pytestmark = pytest.mark.django_db(transaction=True)
BEGAN_SEC_AGO = 240.0


class Scene:
    """A saga played by the machine's own rules, at times of our choice."""

    def __init__(self) -> None:
        self.run = saga("deploy_application_broken", app="shop", version="1.2.0", api_key="sk-9f2a71c0")
        self.began = time.time() - BEGAN_SEC_AGO
        SagaExecution.objects.filter(pk=self.run.pk).update(created_at=timezone.now() - timedelta(seconds=BEGAN_SEC_AGO))

    def play(
        self, step: str, start: float, end: float, *, error: str = "", again: bool = False, direction: Direction = Direction.DO
    ) -> None:
        index = [one.step_id for one in store.load(self.run.pk).spec.steps].index(step)
        claim = events.Claim(step=index, direction=direction, now=self.began + start, limit_sec=20, grace_sec=5)
        claimed = store.dispatch(self.run.pk, claim, actor="hub@worker-1:4711")
        assert not claimed.ignored, claimed.ignored
        epoch, now = claimed.run.steps[index].epoch, self.began + end
        ended: events.Event = events.Succeeded(step=index, epoch=epoch, now=now, output={f"{step}_id": f"{step}-7f3"}, served_by=step)
        if error:
            said = {"code": "E11440", "message": error}
            ended = events.Failed(step=index, epoch=epoch, now=now, outcome="failed", error=said, retryable=again)
        store.dispatch(self.run.pk, ended, actor="hub@worker-1:4711")

    def owed(self) -> list[str]:
        loaded = store.load(self.run.pk)
        return [loaded.spec.steps[i].step_id for i in plan.to_undo(loaded.spec, loaded.run)]


def a_failed_deployment() -> SagaExecution:
    scene = Scene()
    scene.play("note", 0.3, 0.9)
    scene.play("model", 1.2, 2.6)
    scene.play("tools", 2.8, 3.6, error="no browser is free", again=True)
    scene.play("tools", 6.0, 7.0)
    scene.play("deploy", 7.2, 10.1)
    scene.play("plan", 10.3, 11.2)
    scene.play("activate", 11.4, 12.0, error="the plan has more agents than there are")
    at = 12.4
    while owed := scene.owed():
        error = "L02_runtime answered 423: the deployment is locked" if owed[0] == "deploy" else ""
        scene.play(owed[0], at, at + 1.1, error=error, direction=Direction.UNDO)
        at += 1.4
    return SagaExecution.objects.get(pk=scene.run.pk)


def a_busy_hub() -> None:
    redis_client().flushdb()
    workers.beat("hub@worker-1", QUEUES)
    redis_client().set(readers.ASKED_KEY, redis_client().time()[0])
    for number, name in enumerate(("L02_runtime", "L03_tools", "L04_model_gateway", "L05_planning")):
        register(name, f"http://127.0.0.1:{8002 + number}", status=ServiceStatus.UNHEALTHY if number == 0 else ServiceStatus.HEALTHY)
    circuits.force("L02_runtime", CircuitState.FORCED_OPEN, by="ann", why="deployments are locked")
    now = timezone.now()
    RoutedRequest.objects.bulk_create(
        RoutedRequest(
            service_name="L04_model_gateway",
            method="POST",
            path="/complete",
            outcome="unknown" if number % 17 == 0 else "ok",
            duration_ms=40 + number % 90,
            trace_id="a" * 32,
            correlation_id="demo",
            created_at=now - timedelta(seconds=(number * 37) % 1790),
        )
        for number in range(400)
    )


def test_pictures_of_the_overview_and_of_a_saga(visit):
    a_busy_hub()
    run = a_failed_deployment()
    folder = Path(os.environ.get("HUB_PICTURES_DIR", settings.HUB.var_dir / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    assert run.status == "needs_operator"

    for theme in ("light", "dark"):
        tab = visit(theme=theme)
        for name, path in (("overview", "/admin/"), ("saga", reverse("admin:sagas_sagaexecution_change", args=[run.pk]))):
            tab.open(path)
            expect(tab.page.locator("#content")).to_contain_text("deploy_application_broken")
            assert "sk-9f2a71c0" not in tab.page.content()
            tab.page.screenshot(path=folder / f"{name}-{theme}.png")
        assert (tab.complaints, tab.outside) == ([], [])

    assert {path.name for path in folder.glob("*.png")} >= {"overview-light.png", "overview-dark.png", "saga-light.png", "saga-dark.png"}
