"""A module that calls itself pure is held to it: its name stands in the contract that `lint-imports` checks."""

import re
import tomllib

from tests.processes import ROOT

ROOMS = ("hub", "registry_app", "sagas")


def test_every_module_that_says_it_is_pure_stands_in_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = next(one["source_modules"] for one in contracts if one["name"] == "Rules stand apart from I/O")
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    said = {_module(path) for path in files if re.match(r'"""[^\n]*\(pure[);]', path.read_text())}

    assert set(held) == said


def _module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
