"""When a dead process may start again."""

import pytest

from hub.console.processes import LONGEST_DELAY_SEC, STEADY_SEC, deaths_after, restart_delay_sec


@pytest.mark.parametrize(("deaths", "longest"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (50, 30), (10_000, 30)])
def test_the_delay_doubles_up_to_a_cap(deaths, longest):
    assert restart_delay_sec(deaths, jitter=0) == longest / 2
    assert restart_delay_sec(deaths, jitter=0.999) == pytest.approx(longest, rel=0.01)
    assert restart_delay_sec(deaths, jitter=0.999) <= LONGEST_DELAY_SEC


def test_a_process_that_lived_long_begins_to_count_again():
    assert deaths_after(3, lived_sec=STEADY_SEC - 1) == 4
    assert deaths_after(3, lived_sec=STEADY_SEC) == 1
