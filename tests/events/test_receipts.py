"""The judge finds what is planted, and nothing in a good run."""

import pytest

from tests.events.receipts import judge, read

IDS = [f"e{number}" for number in range(10)]
GOOD = [("good", one) for one in IDS]
PICKY = [("picky", one) for one in IDS]
DEAD = [("picky", "e3"), ("picky", "e7")]


def judged(received=None, dead=None):
    wanted = {"good": IDS, "picky": IDS}
    return judge(
        wanted=wanted,
        received=GOOD + PICKY if received is None else received,
        dead=DEAD if dead is None else dead,
        poison={"picky": ["e3", "e7"]},
    )


def test_a_good_run_has_no_violation_and_no_doubles():
    assert judged().violations == []
    assert judged().doubled == {"good": 0, "picky": 0}


@pytest.mark.parametrize(
    ("run", "begins"),
    [
        ({"received": GOOD[1:] + PICKY}, "E1 lost: 1 of good"),
        ({"received": [*GOOD, ("good", "never"), *PICKY]}, "E1 never published"),
        ({"dead": DEAD[1:]}, "E1 refused and no dead letter"),
        ({"dead": [*DEAD, ("good", "e1")]}, "E1 accepted and yet"),
        ({"dead": [*DEAD, DEAD[0]]}, "E3 2 dead letters of e3"),
    ],
)
def test_a_planted_violation_is_found(run, begins):
    [violation] = judged(**run).violations

    assert violation.startswith(begins)


def test_what_came_twice_is_counted_but_not_the_attempts_at_what_is_refused():
    found = judged(received=GOOD + PICKY + [GOOD[0], GOOD[0], ("picky", "e3")])

    assert (found.violations, found.doubled) == ([], {"good": 2, "picky": 0})


def test_receipts_are_lines_of_a_file():
    assert read("good e1\npicky e2\n") == [("good", "e1"), ("picky", "e2")]
