"""The form by which the admin makes a token."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms

from hub.api import tokens
from hub.api.models import ApiToken
from hub.api.scopes import Scope
from hub.errors import IntegrationError


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Who it is for, what it may do, and how long."""

    scopes = forms.MultipleChoiceField(choices=[(scope.value, scope.value) for scope in Scope], widget=forms.CheckboxSelectMultiple)
    days = forms.IntegerField(initial=tokens.DEFAULT_DAYS, min_value=1, max_value=tokens.MAX_DAYS, help_text="how long it lives")

    class Meta:
        model = ApiToken
        fields: ClassVar = ["name"]

    def clean(self) -> dict[str, Any]:
        """Refuse what `hub.api.tokens.create` refuses."""
        found: dict[str, Any] = super().clean() or {}
        if self.errors:
            return found
        try:
            tokens.check(found["name"], found["scopes"], found["days"])
        except IntegrationError as exc:
            raise forms.ValidationError(str(exc)) from None
        return found
