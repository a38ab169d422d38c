"""Addresses of the hub's web process."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from hub.api.urls import api
from hub.console import views
from hub.telemetry import views as telemetry_views

handler400 = "hub.console.failures.request_refused"
handler500 = "hub.console.failures.page_failed"
urlpatterns = [
    path("api/v1/", api.urls),
    path("admin/console/", include("hub.console.urls")),
    path("admin/", admin.site.urls),
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("metrics", telemetry_views.metrics_page),
    path("v1/traces", telemetry_views.receive_traces),
    path("", RedirectView.as_view(url="/admin/")),
]
