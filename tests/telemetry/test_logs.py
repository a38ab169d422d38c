import json
import logging
import sys

import pytest

from hub.telemetry import tracing
from hub.telemetry.logs import JsonFormatter, TextFormatter


def record(message="it happened", *, exc_info=None, **extra):
    made = logging.getLogger("hub.test").makeRecord("hub.test", logging.INFO, __file__, 1, message, (), exc_info, extra=extra)
    return made


def test_an_event_is_one_line_of_json_with_its_trace():
    with tracing.span("work"), tracing.correlated("order-7"):
        line = JsonFormatter().format(record(service="L02", password="canary-1234"))
        trace_id = tracing.trace_id()

    found = json.loads(line)
    assert "\n" not in line
    assert (found["event"], found["level"], found["service"], found["trace_id"], found["correlation_id"]) == (
        "it happened", "INFO", "L02", trace_id, "order-7",
    )  # fmt: skip
    assert "canary-1234" not in line


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_what_a_line_adds_hides_its_secrets_and_is_not_its_level(formatter):
    error = ValueError("login with password=canary-1234 failed")
    line = formatter.format(record(level="DEBUG", event="another", failed=error, all=[error]))

    assert "canary-1234" not in line
    assert "INFO" in line
    assert "it happened" in line


def test_names_that_json_does_not_have_lose_no_line():
    line = JsonFormatter().format(record(calls={("L02", "Bearer canary-1234"): 3, b"L03": 1}))

    assert json.loads(line)["calls"] == {"('L02', 'Bearer [redacted]')": 3, "b'L03'": 1}


def test_a_line_break_in_a_value_cannot_pass_for_another_event():
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(record("named\n2026-01-01 CRITICAL forged", service="a\r\nb\x1b[31m\u2028c"))
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line


def test_a_traceback_is_indented_below_its_event():
    try:
        raise ValueError("broken\n2026-01-01 CRITICAL forged")
    except ValueError:
        text = TextFormatter().format(record(exc_info=sys.exc_info()))

    first, *rest = text.split("\n")
    assert first.endswith("it happened")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_a_value_cut_to_its_limit_is_no_line_in_the_log(caplog):
    with caplog.at_level(logging.WARNING), tracing.span("long", attributes={"text": "x" * (2 * tracing.MAX_ATTRIBUTE_LENGTH)}):
        pass

    assert not caplog.records
