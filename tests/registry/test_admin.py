"""Services in the admin: what a person sees, and the few things that change something."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from hub.circuits import breaker
from hub.circuits.models import CircuitSetting
from registry_app import health, services
from registry_app.models import Service
from registry_app.rules import Finding, Verdict
from tests.registry.samples import register, row_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def sick():
    info = register("sick", "http://127.0.0.1:1")
    for verdict in (Verdict.GOOD, Verdict.BAD, Verdict.BAD, Verdict.BAD):
        finding = Finding(verdict=verdict, reason="<b>refused</b>", took_ms=3)
        health.record(info.service_id, {"probe": finding}, at=timezone.now())
    return row_of(info)


def page(row):
    return reverse("admin:registry_service_change", args=[row.pk])


def act(client, row, action, **data):
    return client.post(f"{reverse('admin:registry_service_changelist')}{row.pk}/{action}/", {"_form_submitted": "on", **data})


def test_the_list_shows_the_sick_first_each_with_its_reason(admin_client, sick):
    register("well", "http://127.0.0.1:2", status="healthy")

    html = admin_client.get(reverse("admin:registry_service_changelist")).content.decode()

    assert html.index("http://127.0.0.1:1") < html.index("http://127.0.0.1:2")
    assert "probe: &lt;b&gt;refused&lt;/b&gt;" in html
    assert "<b>refused</b>" not in html
    assert html.count('title="bad"') == 3


def test_the_page_says_what_each_witness_says_and_what_changed(admin_client, sick):
    html = admin_client.get(page(sick)).content.decode()

    assert "<b>probe</b>: bad, &lt;b&gt;refused&lt;/b&gt;" in html
    assert "unknown" in html
    assert "1.0" in html  # the flap penalty


def test_who_left_is_not_listed_unless_asked(admin_client, sick):
    services.deregister(sick.service_id)
    listing = reverse("admin:registry_service_changelist")

    assert "http://127.0.0.1:1" not in admin_client.get(listing).content.decode()
    assert "http://127.0.0.1:1" in admin_client.get(f"{listing}?registered=no").content.decode()


def test_maintenance_begins_and_ends_with_who_and_why(admin_client, sick):
    act(admin_client, sick, "begin-maintenance", reason="new disk", minutes=30)
    row = Service.objects.get()
    assert (row.maintenance_reason, row.maintenance_by) == ("new disk", "admin")

    act(admin_client, sick, "end-maintenance")
    assert Service.objects.get().maintenance_until is None


def test_a_probe_out_of_turn(admin_client, sick):
    answer = act(admin_client, sick, "probe")

    assert (answer.status_code, answer.headers["Location"]) == (302, page(sick))


def test_deregistering_needs_a_reason(admin_client, sick):
    act(admin_client, sick, "deregister")
    assert Service.objects.get().deregistered_at is None

    act(admin_client, sick, "deregister", reason="sold")
    assert Service.objects.get().deregistered_at
    assert Service.objects.get().changes.latest("pk").reason == "sold (admin)"


def test_looking_changes_nothing(admin_client, sick):
    answer = admin_client.get(f"{reverse('admin:registry_service_changelist')}{sick.pk}/deregister/")

    assert answer.status_code == 200
    assert Service.objects.get().deregistered_at is None


def test_who_may_only_look_cannot_act(client, sick):
    viewer = User.objects.create_user("viewer", password="x", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_service"))
    client.force_login(viewer)

    assert client.get(page(sick)).status_code == 200
    assert act(client, sick, "deregister", reason="sold").status_code == 403
    assert Service.objects.get().deregistered_at is None


@pytest.mark.parametrize("model", ["service", "healthchange", "nameowner"])
def test_nothing_is_edited_by_hand(admin_client, sick, model):
    assert admin_client.get(reverse(f"admin:registry_{model}_changelist")).status_code == 200
    assert admin_client.get(reverse(f"admin:registry_{model}_add")).status_code == 403


def test_the_page_of_a_service_leads_to_its_breaker(admin_client, sick):
    html = admin_client.get(page(sick)).content.decode()
    assert "/admin/circuits/circuitsetting/add/?service_name=sick" in html
    assert "closed, 0% of 0 calls failed" in html

    saved = admin_client.post("/admin/circuits/circuitsetting/add/?service_name=sick", {"service_name": "sick", "failure_threshold": 2})
    setting = CircuitSetting.objects.get(service_name="sick")

    assert saved.status_code == 302
    assert reverse("admin:circuits_circuitsetting_change", args=[setting.pk]) in admin_client.get(page(sick)).content.decode()
    assert breaker.look("sick").overrides == {"failure_threshold": 2}
