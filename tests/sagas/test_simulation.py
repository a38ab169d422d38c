"""The real machine under crashes, zombies, lost, late and doubled messages: right with all protections, wrong without each."""

from __future__ import annotations

import pytest

from tests.sagas.simulated.protections import Protections
from tests.sagas.simulated.world import FAULTS
from tests.sagas.simulation import MUST_BE_INVALID, MUST_BE_VALID, simulate, tally

ENDS = ("completed", "compensated", "failed", "needs_operator")


def test_one_seed_is_one_history():
    assert simulate(7) == simulate(7)


def test_a_thousand_histories_under_faults_are_valid():
    found = tally(range(1000), Protections())

    assert found.invalid == []
    assert all(found.faults[fault] >= 100 for fault in FAULTS), found.faults
    assert all(found.figures[f"sagas {end}"] >= 50 for end in ENDS), found.figures


@pytest.mark.parametrize("label", [label for label, protections in MUST_BE_VALID.items() if protections != Protections()])
def test_nothing_depends_on_messages_that_only_hasten(label):
    assert tally(range(300), MUST_BE_VALID[label]).invalid == []


@pytest.mark.parametrize("label", MUST_BE_INVALID)
def test_each_protection_is_missed(label):
    assert any(tally([seed], MUST_BE_INVALID[label]).invalid for seed in range(300))
