"""What all pages of the console have in common: who may see them, what they show when a thing is not there, the frame."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from hub.console.acting.shape import Subject
from hub.errors import IntegrationError


def render(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Return a page in the frame of the admin."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})


def check_may(request: HttpRequest, permission: str) -> None:
    """Refuse a person without the permission: 403."""
    if not request.user.has_perm(permission):
        raise PermissionDenied(permission)


def found(request: HttpRequest, subject: Subject, subject_id: str) -> Any:
    """Return a thing: 403 for who may not see it, 404 when it is not there; a store that could not be asked is told by its code."""
    check_may(request, subject.view_permission)
    try:
        return subject.find(subject_id)
    except IntegrationError as exc:
        if exc.code.http >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise Http404(str(exc)) from exc
