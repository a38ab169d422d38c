"""Addresses of the hub's web process."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from hub.console import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", views.healthz),
    path("readyz", views.readyz),
    path("", RedirectView.as_view(url="/admin/")),
]
