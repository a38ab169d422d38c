"""The list of what a layer can ask is whole, and names the arguments that the tasks take."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields

import pytest

from hub.celery import PUBLIC, app
from hub.routing import tasks as routing
from hub.telemetry.values import Metric, TraceSpan
from tests.processes import ROOT

ROW = re.compile(r"^\| `(hub\.[a-z_.]+)` \| ([^|]*) \|", re.MULTILINE)
LIST = (ROOT / "docs/layers.md").read_text().partition("## What it can ask")[2].partition("\n## ")[0]
TOLD = dict(ROW.findall(LIST))


def public_tasks():
    app.loader.import_default_modules()
    known = (name for name in app.tasks if name.startswith("hub.") and not name.startswith("hub.bench."))
    return sorted(name for name in known if app.amqp.router.route({}, name)["queue"].name == PUBLIC)


def told(name):
    """Return the arguments that must be given and those that may be, as the list says."""
    needed, _, optional = TOLD[name].partition("[")
    return re.findall(r"`(\w+)`", needed), re.findall(r"`(\w+)`", optional)


def taken(name):
    known = {"hub.requests.route": (routing.ROUTE, 3), "hub.requests.broadcast": (routing.BROADCAST, 3)}
    if name in known:
        names, needed = known[name]
        return list(names[:needed]), list(names[needed:])
    if name.startswith("hub.telemetry."):
        parts = fields(TraceSpan if name.endswith("span") else Metric)
        return _split({part.name: part.default is MISSING and part.default_factory is MISSING for part in parts})
    parameters = inspect.signature(app.tasks[name].run).parameters
    return _split({one.name: one.default is one.empty for one in parameters.values()})


def _split(is_needed):
    return [name for name in is_needed if is_needed[name]], [name for name in is_needed if not is_needed[name]]


def test_every_public_task_is_in_the_list():
    assert sorted(TOLD) == public_tasks()


@pytest.mark.parametrize("name", TOLD)
def test_the_list_names_the_arguments_that_the_task_takes(name):
    assert told(name) == taken(name)
