"""Rows name arms that exist, and a row is judged by the median of the ratios within its rounds."""

from __future__ import annotations

import os

import pytest
from django.core.management import CommandError, call_command

from hub.bench import figures, memory, sizes
from hub.bench.arms import ARMS
from hub.bench.figures import Row, Sample
from hub.bench.rows import ROWS
from hub.bench.sizes import Sizes


def test_every_row_has_its_arms_and_every_arm_its_row():
    assert {arm for row in ROWS for arm in row.arms} == set(ARMS)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_no_id_stands_twice_in_one_table(database):
    ids = [row.id for row in ROWS if database in row.databases]

    assert sorted(set(ids)) == sorted(ids)


def test_asking_for_a_row_takes_its_variants_along():
    found = {row.id for row in figures.chosen(ROWS, "R4,S1", "sqlite")}

    assert found == {"R4", "R4.aiohttp"}  # S1 is shown on Postgres alone


def test_extra_rows_are_measured_only_when_asked_for():
    rows = [Row(id="X", what="x", ours="a", must=1, ambitious=2), Row(id="M", what="m", ours="a", must=1, ambitious=2, is_extra=True)]

    assert [row.id for row in figures.chosen(rows, "", "sqlite")] == ["X"]
    assert [row.id for row in figures.chosen(rows, "M", "sqlite")] == ["M"]


def test_a_row_may_compare_a_count_per_unit_instead_of_the_figure():
    row = Row(id="X", what="x", ours="a", reads="transactions", must=7, ambitious=6, less_is_better=True)

    verdict = figures.judge(row, [{"a": Sample(figure=90, transactions=6)}])

    assert (verdict.ours, verdict.met) == (6, "ambitious")


def test_a_row_without_a_target_is_only_shown():
    row = Row(id="X", what="x", ours="a", rival="b", must=None, ambitious=None)

    assert figures.judge(row, [{"a": Sample(figure=1), "b": Sample(figure=2)}]).met == ""


def test_the_sizes_asked_for_reach_the_process_that_measures():
    wanted = Sizes(few=10, many_requests=50)

    assert sizes.asked(wanted.environment()) == wanted
    assert sizes.asked({}) == Sizes()


def test_a_process_has_a_memory():
    assert 1 < memory.of_tree_mb(os.getpid()) < 10_000


def test_ratios_are_taken_within_a_round():
    row = Row(id="X", what="x", ours="a", rival="b", must=2, ambitious=3)
    rounds = [{"a": Sample(figure=20), "b": Sample(figure=10)}, {"a": Sample(figure=250), "b": Sample(figure=100)}, {"a": Sample(figure=1)}]

    verdict = figures.judge(row, rounds)

    assert (verdict.ratio, verdict.spread, verdict.met) == (2.25, (2, 2.5), "must")


def test_a_row_without_a_whole_round_has_no_verdict():
    row = Row(id="X", what="x", ours="a", rival="b", must=2, ambitious=3)

    assert figures.judge(row, [{"a": Sample(figure=20)}]) is None


@pytest.mark.parametrize(
    ("verdicts", "absent", "loosely", "strictly"),
    [
        ({"X", "Y"}, {}, True, True),
        ({"X"}, {"rival": "not installed"}, True, False),
        ({"X"}, {"b": "no end"}, False, False),
        ({}, {}, False, False),
    ],
)
def test_a_run_fails_when_ours_did_not_come_out_and_strictly_when_a_rival_did_not(verdicts, absent, loosely, strictly):
    rows = [Row(id="X", what="x", ours="a", must=1, ambitious=2), Row(id="Y", what="y", ours="b", rival="rival", must=1, ambitious=2)]

    assert figures.is_complete(rows, verdicts, absent, strictly=False) is loosely
    assert figures.is_complete(rows, verdicts, absent, strictly=True) is strictly


def test_what_was_asked_for_and_cannot_be_shown_is_said():
    rows = figures.chosen(ROWS, "S1,S6.inline,R4,X9", "sqlite")

    assert figures.not_shown(rows, "S1,S6.inline,R4,X9") == ["S1", "X9"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rounds", "0"], "--rounds: must be a whole number of at least 1, not '0'"),
        (["--rows", "1e6"], "--rows: must be a whole number of at least 1, not '1e6'"),
        (["load", "--spans", "-1"], "--spans: must be a whole number of at least 0, not '-1'"),
    ],
)
def test_a_count_that_cannot_be_is_refused_before_anything_starts(arguments, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("bench", *arguments)
