"""The registry's history in the admin: read, never edited."""

import pytest
from django.urls import reverse

from tests.registry.samples import register

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", ["healthchange", "nameowner"])
def test_nothing_is_edited_by_hand(admin_client, model):
    register()

    assert admin_client.get(reverse(f"admin:registry_{model}_changelist")).status_code == 200
    assert admin_client.get(reverse(f"admin:registry_{model}_add")).status_code == 403
