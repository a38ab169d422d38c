"""What the hub gives to the tests of those who build on it.

`run_kill_matrix` runs a saga of yours through every crash point of the hub, on real processes of its own, and says what
is wrong afterwards; `hub.testing.plugin` offers the same to pytest as the fixture `saga_kill_matrix`. `act_once` and `act`
stand in for the services behind your steps and keep a book of what really happened.

    def charge(context):
        payments.charge(context["order"], key=context["_saga"]["idempotency_key"])

    report = run_kill_matrix("shop.sagas:order", {"order": 7})
    assert report.ok, report
"""

from __future__ import annotations

from hub.crashpoints import POINTS
from hub.testing.book import act, act_once
from hub.testing.values import Case, Passage, Report, Violation
from hub.testing.workbench import run_kill_matrix

__all__ = ["POINTS", "Case", "Passage", "Report", "Violation", "act", "act_once", "run_kill_matrix"]
