"""Tokens in the admin: made (the secret is shown once), looked at, revoked; never changed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from hub.api import tokens
from hub.api.forms import TokenForm
from hub.api.models import ApiToken


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """Who may use the HTTP API, and for what."""

    list_display = ("name", "shown", "scopes", "standing", "expires_at", "last_used_at", "created_by")
    search_fields = ("=name", "=prefix")
    list_per_page = 50
    actions = ("revoke",)

    @admin.display(description="token")
    def shown(self, row: ApiToken) -> str:
        """Show the part that may be shown."""
        return f"hub_{row.prefix}…"

    @admin.display(description="standing")
    def standing(self, row: ApiToken) -> str:
        """Say whether it can be used."""
        if row.revoked_at:
            return "revoked"
        return "valid" if row.is_valid else "expired"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Offer the form for a new one; an existing one is only shown."""
        return TokenForm if obj is None else super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Show everything but the digest."""
        if obj is None:
            return ["name", "scopes", "days"]
        return ["name", "shown", "scopes", "standing", "expires_at", "revoked_at", "last_used_at", "created_by", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Name what is no column."""
        return ["shown", "standing"] if obj else []

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is not changed: what it may do was decided when it was made."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A revoked token stays for a while, so that its name in the histories means something."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may make tokens may end them."""
        return self.has_add_permission(request)

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        """Make the token; its text lives as long as this request."""
        given = form.cleaned_data
        row, text = tokens.create(given["name"], given["scopes"], by=str(request.user), days=given["days"])
        obj.__dict__.update(row.__dict__)
        request.api_token_text = text  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the secret on the answer itself: a message would wait in a cookie for the next page."""
        text = request.api_token_text  # type: ignore[attr-defined]
        context = {**self.admin_site.each_context(request), "title": f"Token {obj.name}", "token": obj, "text": text}
        return TemplateResponse(request, "api/token_made.html", context, headers={"Cache-Control": "no-store"})

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        """End tokens at once."""
        for row in rows:
            tokens.revoke(row.name)
            self.log_change(request, row, "revoked")
        messages.success(request, "Revoked.")
