"""The demo's sagas are the two that the story tells, of every kind of step."""

import pytest
from django.urls import resolve

from demo import sagas
from hub import SagaDefinition


@pytest.mark.parametrize("name", ["deploy_application", "deploy_application_broken"])
def test_they_are_defined_under_their_names(name):
    saga = getattr(sagas, name)

    assert isinstance(saga, SagaDefinition)
    assert saga.saga_name == name


def test_every_step_before_the_failing_one_can_be_undone():
    *effects, last = sagas.deploy_application_broken.steps

    assert all(step.compensation or step.compensation_endpoint or step.compensation_task for step in effects)
    assert last.step_id == "activate"
    assert {last.compensation_endpoint, last.compensation, last.compensation_task} == {None}


def test_each_kind_of_step_takes_part():
    steps = sagas.deploy_application.steps

    assert [bool(step.action) for step in steps].count(True) == 1
    assert [bool(step.task) for step in steps].count(True) == 1
    assert [bool(step.endpoint) for step in steps].count(True) == 3


def test_the_note_is_written_and_taken_back(settings):
    context = {"app": "shop", "version": "1.0.0"}

    note = settings.HUB.var_dir / "demo" / "releases" / sagas.write_release_note(context)["release_note"]
    assert note.exists()
    sagas.remove_release_note(context)
    sagas.remove_release_note(context)

    assert not note.exists()


def test_the_link_that_the_story_prints_is_a_page_of_the_console():
    assert resolve("/admin/sagas/sagaexecution/00000000-0000-4000-8000-000000000000/change/").url_name == "sagas_sagaexecution_change"
