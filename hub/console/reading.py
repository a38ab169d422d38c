"""Lists of the admin whose rows lead to pages of the console."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from hub.history_admin import ReadOnly


class PageOfItsOwn(ReadOnly):
    """A list whose rows lead to a page of the console, which has no form to save."""

    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the page of one row."""
        raise NotImplementedError

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the page, and take nothing."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return self.show(request, object_id)
