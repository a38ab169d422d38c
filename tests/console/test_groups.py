"""Who may do what, and that the record of actions ends by its retention."""

from __future__ import annotations

import uuid

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.utils import timezone

from hub.console import audit, groups
from hub.console.acting.subjects import SUBJECTS
from hub.console.models import OperatorAction

pytestmark = pytest.mark.django_db


ACTIONS = [action for subject in SUBJECTS.values() for action in subject.actions]


def may(group):
    return set(Group.objects.get(name=group).permissions.values_list("content_type__app_label", "codename"))


@pytest.fixture(autouse=True)
def _groups():
    groups.make(apps)


def test_a_viewer_may_only_view():
    assert {codename.split("_")[0] for _, codename in may("hub viewer")} == {"view"}
    assert ("sagas", "view_sagaexecution") in may("hub viewer")


def test_an_operator_may_do_all_but_throw_messages_away():
    given = {("console", action.permission) for action in ACTIONS}

    assert given - may("hub operator") == {("console", "purge_queue")}
    assert given <= may("hub admin")
    assert may("hub viewer") < may("hub operator") < may("hub admin")


def test_each_action_has_a_permission_of_its_own():
    assert len({action.permission for action in ACTIONS}) == len(ACTIONS)


def test_making_the_groups_again_keeps_what_a_site_added():
    viewer = Group.objects.get(name="hub viewer")
    viewer.permissions.add(Group.objects.get(name="hub operator").permissions.get(codename="cancel_saga"))

    groups.make(apps)

    assert ("console", "cancel_saga") in may("hub viewer")


def test_old_actions_are_pruned_and_young_ones_stay():
    for age in (audit.KEEP * 1.01, audit.KEEP * 0.99):
        row = OperatorAction.objects.create(token=uuid.uuid4(), by="ann", action="Cancel", subject="saga", subject_id="1", reason="x")
        OperatorAction.objects.filter(pk=row.pk).update(at=timezone.now() - age)

    assert (audit.prune(batch=1), OperatorAction.objects.count()) == (1, 1)


def test_what_a_dying_process_left_stays_asked():
    wish = audit.Wish(token=uuid.uuid4(), by="ann", action="Cancel", subject="saga", subject_id="1", reason="x")

    with pytest.raises(KeyboardInterrupt):
        audit.carry_out(wish, _die, lambda: {"status": "running"})

    again = audit.carry_out(wish, _die, lambda: {"status": "running"})
    assert (again.outcome, again.after) == ("asked", None)


def _die():
    raise KeyboardInterrupt
