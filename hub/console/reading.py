"""History in the admin is shown, never edited."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


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
