"""Rows name arms that exist, and a row is judged by the median of the ratios within its rounds."""

from __future__ import annotations

import pytest

from hub.bench import figures
from hub.bench.arms import ARMS
from hub.bench.figures import Row, Sample
from hub.bench.rows import ROWS


def test_every_row_has_its_arms_and_every_arm_its_row():
    assert {arm for row in ROWS for arm in row.arms} == set(ARMS)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_no_id_stands_twice_in_one_table(database):
    ids = [row.id for row in figures.chosen(ROWS, "", database)]

    assert sorted(set(ids)) == sorted(ids)


def test_asking_for_a_row_takes_its_variants_along():
    found = {row.id for row in figures.chosen(ROWS, "R4,S1", "sqlite")}

    assert found == {"R4", "R4.aiohttp"}  # S1 is shown on Postgres alone


def test_ratios_are_taken_within_a_round():
    row = Row(id="X", what="x", ours="a", rival="b", must=2, ambitious=3)
    rounds = [{"a": Sample(figure=20), "b": Sample(figure=10)}, {"a": Sample(figure=250), "b": Sample(figure=100)}, {"a": Sample(figure=1)}]

    verdict = figures.judge(row, rounds)

    assert (verdict.ratio, verdict.spread, verdict.met) == (2.25, (2, 2.5), "must")


def test_a_row_without_a_whole_round_has_no_verdict():
    row = Row(id="X", what="x", ours="a", rival="b", must=2, ambitious=3)

    assert figures.judge(row, [{"a": Sample(figure=20)}]) is None
