"""History in the admin is shown, never edited."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

MOST_ROWS = 1_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Page through the first thousand rows, and count no further: on a large table a full count costs more than the page."""

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, a thousand at most."""
        rows: Any = self.object_list
        return len(rows.values_list("pk", flat=True)[:MOST_ROWS])


class ReadOnly:
    """Refuse adding, changing and deleting; seeing takes the model's own permission."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History is not made by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History is not changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History ends by its retention."""
        return False


class PageOfItsOwn(ReadOnly):
    """A list of the admin whose rows lead to a page of the console, which has no form to save."""

    def show(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the page of one row."""
        raise NotImplementedError

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the page, and take nothing."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return self.show(request, object_id)
