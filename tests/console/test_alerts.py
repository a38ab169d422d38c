"""The rules for Prometheus name what is really counted, and leave out nothing that the overview calls wrong."""

import re

import pytest
import yaml

from tests.console.test_overview import KINDS
from tests.processes import ROOT

RULES = yaml.safe_load((ROOT / "docs/alerts.yml").read_text())["groups"][0]["rules"]
DOCUMENTED = (ROOT / "docs/observability.md").read_text()
CODE = "".join(path.read_text() for room in ("hub", "sagas", "registry_app") for path in (ROOT / room).rglob("*.py"))
QUIET = {"failed-today"}


def kinds(rule):
    return set(re.findall(r"[a-z-]+", "".join(re.findall(r'kind=~?"([^"]*)"', rule["expr"]))))


def test_every_trouble_that_is_urgent_is_an_alarm():
    assert set().union(*map(kinds, RULES)) == KINDS - QUIET


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_is_counted_and_says_what_to_do(rule):
    for name in re.findall(r"\bhub_\w+", rule["expr"]):
        assert f"`{name}`" in DOCUMENTED, name
        assert f'"{name}"' in CODE, name
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["todo"]
