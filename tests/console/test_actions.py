"""All that operators do has one shape: POST, a permission of its own, a reason, a record, and a form acts once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hub.circuits import breaker
from hub.circuits import services as circuits
from hub.circuits.policy import CircuitState
from hub.console.acting.subjects import SUBJECTS
from hub.console.bulk import operations
from hub.console.bulk.choices import CHOICES
from hub.console.models import BatchOperation, OperatorAction
from hub.events import replays
from hub.events.models import DeadLetter, Delivery, ReplayRun, Subscription
from hub.redis_client import client as redis_client
from registry_app.models import Service
from sagas.models import SagaExecution
from tests.console.pages import act, dead_letters, failed_saga, parked_saga, person, saga, token, waiting_saga
from tests.registry.samples import register

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet_redis():
    redis_client().flushdb()


def saga_is(status):
    return lambda run: SagaExecution.objects.get(pk=run).status == status


def instance():
    return register("L05_planning", "http://127.0.0.1:1").service_id


def instance_in_maintenance():
    made = instance()
    Service.objects.filter(service_id=made).update(maintenance_until=timezone.now() + timedelta(hours=1))
    return made


def of_service(**wanted):
    return lambda made: Service.objects.filter(service_id=made, **wanted).exists()


def circuit(mode=None):
    if mode:
        circuits.force("L05_planning", mode, by="bob", why="a move")
    return "L05_planning"


def circuit_is(state):
    return lambda name: breaker.look(name).state is state


def letter_is(status):
    return lambda pk: DeadLetter.objects.get(pk=pk).status == status


def cause(*, is_replaying=False):
    found = dead_letters(2)[0].fingerprint
    if is_replaying:
        replays.start(found, by="bob")
    return found


def runs_are(**wanted):
    return lambda fingerprint: [run.pk for run in ReplayRun.objects.filter(fingerprint=fingerprint, **wanted)] != []


def queue():
    redis_client().rpush("hub", '{"headers": {}}')
    return "hub"


def subscription(*, paused):
    made = Subscription.objects.create(name="mail", pattern="agent.*", kind="task", task="l03.mail", queue="l03", paused=paused)
    return made.pk


def batch(status="draft"):
    letter = dead_letters()[0]
    choice = CHOICES["dead-letter", "discard"]
    made = operations.draw_up(choice, [(str(letter.pk), str(letter), letter.status)], by="bob")
    if status != "draft":
        operations.start(made.pk, reason="test", by="bob")
        BatchOperation.objects.filter(pk=made.pk).update(status=status)
    return made.pk


def batch_is(status):
    return lambda pk: BatchOperation.objects.get(pk=pk).status == status


# (subject, action): how to make the thing, what its form takes besides a reason, and what is true afterwards
CASES = {
    ("saga", "signal"): (
        lambda: waiting_saga().pk,
        {"signal": "approved", "payload": '{"by": "ann"}'},
        lambda run: SagaExecution.objects.get(pk=run).context.get("by") == "ann",
    ),
    ("saga", "compensate"): (lambda: failed_saga().pk, {}, saga_is("compensating")),
    ("saga", "retry"): (lambda: failed_saga().pk, {}, saga_is("running")),
    ("saga", "retry-undo"): (lambda: parked_saga().pk, {}, saga_is("compensating")),
    ("saga", "skip"): (lambda: failed_saga().pk, {"step": "b"}, saga_is("completed")),
    ("saga", "cancel"): (lambda: saga().pk, {}, lambda run: not saga_is("pending")(run)),
    ("saga", "resolve"): (lambda: failed_saga().pk, {"outcome": "completed"}, saga_is("completed")),
    ("saga", "rerun"): (lambda: failed_saga().pk, {"step": "b"}, lambda run: SagaExecution.objects.filter(rerun_of=run).count() == 1),
    ("service", "probe"): (instance, {}, of_service(last_probe_at__isnull=False)),
    ("service", "begin-maintenance"): (instance, {"minutes": "30"}, of_service(maintenance_by="ann", maintenance_reason="because")),
    ("service", "end-maintenance"): (instance_in_maintenance, {}, of_service(maintenance_until=None)),
    ("service", "deregister"): (instance, {"confirm": "yes"}, of_service(deregistered_at__isnull=False)),
    ("circuit", "force-open"): (circuit, {"minutes": "10"}, circuit_is(CircuitState.FORCED_OPEN)),
    ("circuit", "force-closed"): (circuit, {"minutes": "10"}, circuit_is(CircuitState.FORCED_CLOSED)),
    ("circuit", "metrics-only"): (circuit, {"minutes": "10"}, circuit_is(CircuitState.METRICS_ONLY)),
    ("circuit", "reset"): (lambda: circuit(CircuitState.FORCED_OPEN), {}, circuit_is(CircuitState.CLOSED)),
    ("circuit", "thresholds"): (
        circuit,
        {"failure_threshold": "9"},
        lambda name: breaker.look(name).overrides == {"failure_threshold": 9},
    ),
    ("dead-letter", "replay"): (lambda: dead_letters()[0].pk, {}, letter_is("replayed")),
    ("dead-letter", "edit"): (
        lambda: dead_letters()[0].pk,
        {"changes": '{"agent": "a2"}'},
        lambda pk: DeadLetter.objects.filter(pk=pk, edited_event__body__data={"agent": "a2"}).exists(),
    ),
    ("dead-letter", "discard"): (lambda: dead_letters()[0].pk, {}, letter_is("discarded")),
    ("cause", "replay"): (cause, {"rate": "5"}, runs_are(limit=2, requested_by="ann")),
    ("cause", "try-one"): (cause, {}, runs_are(limit=1)),
    ("cause", "stop"): (lambda: cause(is_replaying=True), {}, runs_are(status="stopped")),
    ("queue", "purge"): (queue, {"confirm": "yes"}, lambda name: redis_client().llen(name) == 0),
    ("batch", "start"): (batch, {}, batch_is("running")),
    ("batch", "pause"): (lambda: batch("running"), {}, batch_is("paused")),
    ("batch", "resume"): (lambda: batch("paused"), {}, batch_is("running")),
    ("batch", "stop"): (lambda: batch("running"), {}, batch_is("stopped")),
    ("subscription", "pause"): (lambda: subscription(paused=False), {}, lambda pk: Subscription.objects.get(pk=pk).paused),
    ("subscription", "resume"): (lambda: subscription(paused=True), {}, lambda pk: not Subscription.objects.get(pk=pk).paused),
}
every_action = pytest.mark.parametrize(("subject", "name"), CASES)


def post(browser, subject, thing, name, **form):
    return browser.post(address(subject, thing, name), {"reason": "because", "token": token(), **form})


def address(subject, thing, name):
    return reverse("console:act", args=[subject, thing, name])


def test_no_action_is_left_out():
    assert set(CASES) == {(kind.name, action.name) for kind in SUBJECTS.values() for action in kind.actions}


@every_action
def test_it_acts_once_and_is_written_down(subject, name):
    make, form, holds = CASES[subject, name]
    thing, admin, form_sent_twice = make(), person("hub admin"), {**form, "token": token()}
    assert not holds(thing)

    answers = [post(admin, subject, thing, name, **form_sent_twice) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert holds(thing)
    done = OperatorAction.objects.get()
    assert (done.by, done.subject, done.subject_id, done.reason, done.outcome) == ("ann", subject, str(thing), "because", "done")
    assert done.before
    assert done.after


@every_action
def test_without_a_reason_its_permission_or_a_csrf_token_it_changes_nothing(subject, name):
    make, form, holds = CASES[subject, name]
    thing = make()
    admin, viewer, other, strict = (
        person("hub admin"),
        person("hub viewer", "vera"),
        all_but(subject, name),
        Client(enforce_csrf_checks=True),
    )
    strict.force_login(User.objects.get(username="ann"))

    assert post(admin, subject, thing, name, **form, reason=" ").status_code == 302
    assert post(admin, subject, thing, name, **form, token="").status_code == 302
    assert post(viewer, subject, thing, name, **form).status_code == 403
    assert post(other, subject, thing, name, **form).status_code == 403
    assert post(strict, subject, thing, name, **form).status_code == 403
    assert post(Client(), subject, thing, name, **form).status_code == 302  # to the log-in
    assert admin.get(address(subject, thing, name)).status_code == 302
    assert admin.put(address(subject, thing, name)).status_code == 405

    assert not holds(thing)
    assert OperatorAction.objects.count() == 0


def test_of_two_who_set_thresholds_at_once_neither_takes_back_what_the_other_set():
    admin, name = person("hub admin"), circuit()
    post(admin, "circuit", name, "thresholds", token=token(), failure_threshold="9")
    form = admin.get(reverse("console:circuit", args=[name])).content.decode()
    assert 'name="was.timeout_sec" value=""' in form
    assert 'name="was.failure_threshold" value="9"' in form
    shown = {"failure_threshold": "9", "was.failure_threshold": "9", "timeout_sec": "", "was.timeout_sec": ""}

    post(admin, "circuit", name, "thresholds", token=token(), **shown | {"timeout_sec": "30"})
    post(admin, "circuit", name, "thresholds", token=token(), **shown | {"failure_threshold": ""})

    assert breaker.look(name).overrides == {"timeout_sec": 30}


def all_but(subject, name):
    """Return a browser of somebody who may do everything but this."""
    kind = SUBJECTS[subject]
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.add(*Permission.objects.exclude(content_type__app_label="console", codename=kind.action(name).permission))
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.mark.parametrize(
    ("subject", "name", "spelt"),
    [
        ("saga", "compensate", lambda pk: str(pk).upper()),
        ("saga", "compensate", lambda pk: pk.hex),
        ("batch", "start", lambda pk: str(pk).upper()),
        ("dead-letter", "discard", lambda pk: f"00{pk}"),
        ("subscription", "pause", lambda pk: f"0{pk}"),
    ],
)
def test_it_is_written_down_under_the_id_of_the_thing_however_the_address_spells_it(subject, name, spelt):
    make, form, holds = CASES[subject, name]
    thing = make()

    answer = post(person("hub admin"), subject, spelt(thing), name, **form)

    assert holds(thing)
    assert OperatorAction.objects.get().subject_id == str(thing)
    assert answer["Location"] == SUBJECTS[subject].page(str(thing))


@pytest.mark.parametrize(("subject", "name"), [("cause", "try-one"), ("service", "probe")])
def test_what_only_begins_with_an_id_is_none(subject, name):
    make, form, holds = CASES[subject, name]
    thing = make()

    assert post(person("hub admin"), subject, f"{thing}-and-more", name, **form).status_code == 404
    assert not holds(thing)


@pytest.mark.parametrize(
    ("page", "subject", "name"),
    [("events_deadletter", "dead-letter", "discard"), ("console_batchoperation", "batch", "stop")],
)
def test_a_page_shows_what_was_done_however_its_address_spells_the_id(page, subject, name):
    thing, admin = (dead_letters()[0].pk if subject == "dead-letter" else batch("running")), person("hub admin")
    act(admin, subject, thing, name)

    spelt = f"0{thing}" if subject == "dead-letter" else str(thing).upper()
    shown = admin.get(reverse(f"admin:{page}_change", args=[spelt])).context["actions"]

    assert [(one.subject_id, one.reason) for one in shown] == [(str(thing), "because")]


@pytest.mark.parametrize(("form", "words"), [({"reason": "  "}, "a reason is required"), ({"token": "x"}, "the form has no token")])
def test_the_page_says_what_was_missing(form, words):
    answer = act(person("hub admin"), "saga", failed_saga().pk, "compensate", **form)

    assert f"E11901: {words}" in answer.content.decode()


def test_what_is_not_there_is_not_found():
    admin = person("hub admin")

    for subject, kind in SUBJECTS.items():
        for thing in ("nonsense", "9" * 30):
            if subject != "circuit":  # any well-formed name has a breaker
                assert act(admin, subject, thing, kind.actions[0].name).status_code == 404
        assert act(admin, subject, "nonsense", "no-such-action").status_code == 404
    assert act(admin, "nonsense", "1", "retry").status_code == 404
    assert act(admin, "circuit", "no breaker has this name", "reset").status_code == 404


def test_who_may_not_see_a_thing_does_not_learn_whether_it_is_there(client, django_user_model):
    run = failed_saga()
    client.force_login(django_user_model.objects.create_user("bob", is_staff=True))

    there, nowhere = (act(client, "saga", pk, "retry") for pk in (run.pk, "00000000-0000-4000-8000-000000000000"))

    assert (there.status_code, nowhere.status_code) == (403, 403)


@pytest.mark.parametrize(
    ("subject", "name", "form", "code"),
    [
        ("service", "begin-maintenance", {"minutes": "0"}, "E11902"),
        ("service", "begin-maintenance", {"minutes": "nan"}, "E11902"),
        ("service", "begin-maintenance", {"minutes": ""}, "E11901"),
        ("service", "deregister", {}, "E11901"),
        ("circuit", "force-open", {"minutes": "999999"}, "E11902"),
        ("circuit", "thresholds", {"failure_threshold": "0"}, "E11201"),
        ("dead-letter", "edit", {"changes": "{"}, "E11904"),
        ("dead-letter", "edit", {"changes": "[1]"}, "E11902"),
        ("dead-letter", "edit", {"changes": "[" * 100_000}, "E11904"),
        ("cause", "replay", {"rate": "-1"}, "E11902"),
        ("queue", "purge", {}, "E11901"),
        ("saga", "skip", {"step": "no such step"}, "E11902"),
    ],
)
def test_a_form_with_a_wrong_value_is_refused_with_a_code(subject, name, form, code):
    make, _, holds = CASES[subject, name]
    thing = make()

    answer = act(person("hub admin"), subject, thing, name, **form)

    assert code in answer.content.decode()
    assert not holds(thing)


def test_a_form_that_was_sent_before_is_answered_with_what_it_did():
    run, admin, sent = failed_saga().pk, person("hub admin"), {"step": "b", "token": token()}
    act(admin, "saga", run, "skip", **sent)

    again = act(admin, "saga", run, "skip", **sent).content.decode()

    assert "Skip a step: saga" in again


def test_a_correction_is_laid_over_the_payload():
    letter = dead_letters(payload={"agent": "a1", "card": "4711", "size": {"x": 1, "y": 2}})[0]

    answer = act(person("hub admin"), "dead-letter", letter.pk, "edit", changes='{"agent": null, "size": {"x": 3}}')

    assert "a copy goes out with another agent, size" in answer.content.decode()
    assert DeadLetter.objects.get().edited_event.body["data"] == {"card": "4711", "size": {"x": 3, "y": 2}}


def test_a_second_correction_is_laid_over_the_first():
    letter, admin = dead_letters(payload={"agent": "a1", "card": "4711"})[0], person("hub admin")
    act(admin, "dead-letter", letter.pk, "edit", changes='{"agent": "mended"}')
    DeadLetter.objects.update(status="open")  # it failed again
    Delivery.objects.update(status="dead")

    assert "mended" in admin.get(reverse("admin:events_deadletter_change", args=[letter.pk])).content.decode()
    act(admin, "dead-letter", letter.pk, "edit", changes='{"card": "4712"}')

    corrected = Delivery.objects.get().event
    assert corrected.body["data"] == {"agent": "mended", "card": "4712"}
    assert DeadLetter.objects.get().edited_event == corrected


@pytest.mark.parametrize(
    ("thing", "permission", "action"),
    [(failed_saga, "retry_saga_undo", "retry-undo"), (parked_saga, "retry_saga", "retry")],
)
def test_who_may_retry_one_way_may_not_go_the_other(client, django_user_model, thing, permission, action):
    """Both call the same function, with a permission for each."""
    run = thing()
    user = django_user_model.objects.create_user("bob", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_sagaexecution", permission]))
    client.force_login(user)

    act(client, "saga", run.pk, action)

    before = run.status
    run.refresh_from_db()
    assert run.status == before
    assert not OperatorAction.objects.filter(outcome="done").exists()
