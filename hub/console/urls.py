"""Addresses of the console's own pages, under ``/admin/console/``; each is for staff only."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.urls import path

from hub.console.acting import views as acting
from hub.console.circuits import views as circuits
from hub.console.circuits import whatif
from hub.console.codes import views as codes
from hub.console.deadletters import views as deadletters
from hub.console.queues import views as queues
from hub.console.saga import views as saga
from hub.console.traces import views as traces

app_name = "console"


def _staff(view: Callable[..., Any]) -> Callable[..., Any]:
    return admin.site.admin_view(view)


urlpatterns = [
    path("act/<slug:subject>/<path:subject_id>/<slug:name>/", _staff(acting.act), name="act"),
    path("circuits/", _staff(circuits.board), name="circuits"),
    path("circuits/<str:service_name>/", _staff(circuits.show), name="circuit"),
    path("circuits/<str:service_name>/what-if/", _staff(whatif.what_if), name="circuit_what_if"),
    path("dead-letters/", _staff(deadletters.causes), name="causes"),
    path("dead-letters/<slug:fingerprint>/", _staff(deadletters.cause), name="cause"),
    path("errors/", _staff(codes.index), name="error-codes"),
    path("errors/<slug:code>/", _staff(codes.show), name="error-code"),
    path("queues/", _staff(queues.show), name="queues"),
    path("traces/", _staff(traces.index), name="traces"),
    path("traces/<slug:trace_id>/", _staff(traces.show), name="trace"),
    path("traces/<slug:trace_id>/compare/", _staff(traces.compare_with_good), name="trace-compare"),
    path("traces/<slug:trace_id>/json/", _staff(traces.download), name="trace-json"),
    path("sagas/<uuid:execution_id>/plan/", _staff(saga.plan), name="saga-plan"),
]
