"""What the admin's lists of history have in common, in every room: read only, and no count of a large table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ORDER_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from hub.partial import known_as

MOST_ROWS = 1_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Page through the first thousand rows, and count no further: on a large table a full count costs more than the page."""

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, a thousand at most."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_ROWS].count())


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


class SearchByIndex:
    """Search for whole texts, each search field by its index; the admin's own search would walk through the table.

    Search fields end in ``__exact``: the admin's ``=`` compares without case, which no index serves.
    """

    search_fields: Sequence[str] = ()

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Return the rows that have the text, and that none of them comes twice."""
        text = search_term.strip()
        columns = [name.removesuffix("__exact") for name in self.search_fields]
        return (known_as(queryset, columns, text) if text else queryset), False


class LargeTable:
    """A list in pages of fifty, not counted to its end, and in its own order only.

    By another column the database would sort the whole table for one page: few have an index.
    """

    paginator = BoundedPaginator
    list_per_page = 50
    show_full_result_count = False
    sortable_by: Sequence[str] = ()

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the list; an order in the address, which `sortable_by` does not keep out, leads back to it as every wrong filter does."""
        if ORDER_VAR in request.GET:
            raise IncorrectLookupParameters(ORDER_VAR)
        found: ChangeList = super().get_changelist_instance(request)  # type: ignore[misc]  # of the ModelAdmin beside it
        return found


class HistoryAdmin(SearchByIndex, LargeTable, ReadOnly, ModelAdmin):  # type: ignore[misc]  # the theme has no types
    """Rows that the hub writes and nobody changes."""
