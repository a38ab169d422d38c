"""Admin forms: they ask the same checks as the Python face, and leave the writing to the services."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

from django import forms

from hub.errors import IntegrationError
from hub.events import subscriptions
from hub.events.models import Subscription
from hub.events.subscriptions import Policy
from hub.events.targets import Target

POLICY_FIELDS = tuple(field.name for field in fields(Policy))
TARGET_FIELDS = ("task", "queue", "service_name", "method", "path", "handler")


class SubscriptionForm(forms.ModelForm):  # type: ignore[type-arg]
    """A durable subscription; refuses what `subscriptions.subscribe` refuses."""

    class Meta:
        model = Subscription
        fields: ClassVar = ["name", "pattern", "kind", *TARGET_FIELDS, *POLICY_FIELDS]

    def clean(self) -> dict[str, Any]:
        """Check the subscription as a whole."""
        values = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                name = values.get("name") or self.instance.name
                subscriptions.check(name, values["pattern"], self.target(), self.policy(), everything=self.keeps_pattern())
            except IntegrationError as exc:
                raise forms.ValidationError(str(exc)) from exc
        return values

    def keeps_pattern(self) -> bool:
        """Tell whether the pattern stays: one for everything is made in code only, and may be changed otherwise."""
        return "pattern" not in self.changed_data

    def target(self) -> Target:
        """Return where the events go."""
        values = {name: self.cleaned_data.get(name) or "" for name in TARGET_FIELDS}
        kind = self.cleaned_data.get("kind") or Subscription.Kind.HTTP
        return subscriptions.target_of(Subscription(kind=kind, **{**values, "method": values["method"] or "POST"}))

    def policy(self) -> Policy:
        """Return how they are delivered."""
        given = {name: self.cleaned_data[name] for name in POLICY_FIELDS if name in self.cleaned_data}
        return Policy(**given)


class TopicRouteForm(SubscriptionForm):
    """A route from a topic pattern to a layer's endpoint."""

    class Meta(SubscriptionForm.Meta):
        fields: ClassVar = ["name", "pattern", "service_name", "method", "path", *POLICY_FIELDS]
