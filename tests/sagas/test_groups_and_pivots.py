"""Steps side by side (S16), and the point of no return (S12), on real workers."""

from __future__ import annotations

import pytest

from hub import SagaDefinition, SagaStep
from hub.errors import IntegrationError
from sagas import claims, engine, services, store
from sagas.models import SagaStepExecution
from sagas.states import Direction
from tests.sagas import ledger
from tests.sagas.driven import accepted, begin, drive
from tests.sagas.test_engine import ended, run, statuses

pytestmark = pytest.mark.django_db(transaction=True)


def nothing(context):
    return None


def undo(context):
    return None


def test_a_group_runs_between_its_neighbours_whatever_order_inside(worker, sweeper):
    found = run("fan")

    effects = ledger.effects(found["execution_id"])
    assert found["status"] == "completed"
    assert (effects[0], sorted(effects[1:4]), effects[4]) == ("a.do", ["b.do", "c.do", "d.do"], "e.do")


def test_a_failing_member_waits_for_the_running_ones_and_undoes_once(worker, sweeper):
    found = run("fan", b="slow", c="after b: refuse")

    effects = ledger.effects(found["execution_id"])
    assert (found["status"], found["cause"]) == ("compensated", "refused")
    assert "e.do" not in effects
    first_undo = min(i for i, effect in enumerate(effects) if effect.endswith(".undo"))
    assert all(effect.endswith(".undo") for effect in effects[first_undo:])
    assert "b.undo" in effects[first_undo:]
    assert sorted(effects[first_undo:]) == sorted(set(effects[first_undo:]))
    assert effects[-1] == "a.undo"
    assert statuses(found)["c"] == "failed"


def test_a_failure_after_the_group_undoes_every_member_in_reverse_order_of_start(worker, sweeper):
    found = run("fan", e="refuse")

    effects = ledger.effects(found["execution_id"])
    order_of_start = [step["step_id"] for step in _by_start(found["execution_id"]) if step["step_id"] != "e"]
    assert [effect for effect in effects if effect.endswith(".undo")] == [f"{step}.undo" for step in reversed(order_of_start)]


def _by_start(execution_id):
    return list(SagaStepExecution.objects.filter(execution=execution_id).order_by("started_seq").values("step_id"))


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize(
    ("order", "room"),
    [
        (["book", "choose"], None),
        (["choose", "book"], 7),
        (["book fails", "choose", "book"], 7),
        (["choose begins", "book", "choose ends"], None),
    ],
)
def test_an_undo_in_a_group_gets_what_its_action_saw(order, room):
    execution_id = accepted("booking", plan={"c": "refuse", "book": "fail once" if "book fails" in order else "ok"})
    for move in order:
        if move == "choose begins":
            choosing = claims.claim(store.load(execution_id), 1, Direction.DO)
        elif move == "choose ends":
            engine.record(choosing, engine.call_here(choosing))
        else:
            begin(execution_id, 0 if move.startswith("book") else 1)
            SagaStepExecution.objects.update(due_at=None)

    assert drive(execution_id)["status"] == "compensated"
    seen = [line["kind"] for line in ledger.read(execution_id) if line["step"] == "book"]
    assert seen[-2:] == [f"book room {room}", f"unbook room {room}"]


def test_before_the_pivot_the_saga_turns_back(worker, sweeper):
    found = run("with_pivot", pay="refuse")

    assert found["status"] == "compensated"
    assert ledger.effects(found["execution_id"]) == ["a.do", "pay.do", "a.undo"]


def test_after_the_pivot_it_goes_forward_through_failures(worker, sweeper):
    found = run("with_pivot", ship="fail once")

    assert found["status"] == "completed"
    assert ledger.effects(found["execution_id"]) == ["a.do", "pay.do", "ship.do", "ship.do"]


def test_after_the_pivot_nothing_is_undone_and_an_operator_is_asked(worker, sweeper):
    found = run("with_pivot", ship="fail")

    assert found["status"] == "needs_operator"
    assert found["error"]["code"] == "E11433"
    assert found["error"]["step_id"] == "ship"
    assert not [effect for effect in ledger.effects(found["execution_id"]) if effect.endswith("undo")]
    with pytest.raises(IntegrationError, match=r"^E11425: .*only goes forward"):
        services.compensate(found["execution_id"], reason="let us go back")


def test_an_operator_sends_it_on_after_the_pivot(worker, sweeper):
    found = run("with_pivot", ship="refuse")

    services.retry(found["execution_id"], reason="the service is back")

    assert ended(found["execution_id"])["status"] == "needs_operator"
    assert ledger.effects(found["execution_id"]) == ["a.do", "pay.do", "ship.do", "ship.do"]


def test_a_pivot_of_which_nobody_knows_whether_it_happened_is_put_before_an_operator(worker, sweeper):
    found = run("with_pivot", pay="unknown")

    assert found["status"] == "needs_operator"
    assert found["error"]["step_id"] == "pay"
    assert "a.undo" not in ledger.effects(found["execution_id"])


def step(name, **options):
    return SagaStep(step_id=name, action=nothing, **options)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([step("a", compensation=undo), step("p", kind="pivot"), step("q", kind="pivot")], "E11415"),
        ([step("a"), step("p", kind="pivot")], "E11415"),
        ([step("p", kind="pivot"), step("z")], "E11415"),
        ([step("p", kind="pivot", compensation=undo)], "E11415"),
        ([step("p", kind="pivot", parallel_group="g")], "E11415"),
        ([step("p", kind="pivot"), step("z", kind="retriable", required=False)], "E11415"),
        ([step("r", kind="retriable")], "E11415"),
        ([step("a", kind="maybe")], "E11415"),
        ([step("a", parallel_group="g"), step("b"), step("c", parallel_group="g")], "E11416"),
    ],
)
def test_an_order_in_which_a_saga_could_get_stuck_is_refused_when_it_is_defined(steps, code):
    with pytest.raises(IntegrationError, match=f"^{code}: "):
        SagaDefinition.create("wrong", steps)
