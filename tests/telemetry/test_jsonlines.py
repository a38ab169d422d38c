"""The file sink under several processes that rotate it at once."""

import json
import subprocess
import sys
import threading

from hub.telemetry.jsonlines import JsonLinesSink
from hub.telemetry.values import TraceSpan
from tests.processes import hub_environment


def test_no_line_is_lost_when_several_rotate_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("hub.telemetry.jsonlines.KEPT_FILES", 1_000)
    path, errors = tmp_path / "spans.jsonl", []

    def write(service):
        sink = JsonLinesSink(path, max_bytes=2_000)
        for number in range(100):
            try:
                sink([TraceSpan(span_name=f"n{number}", service_name=service, start=1.0, end=2.0)])
            except OSError as exc:
                errors.append(exc)

    threads = [threading.Thread(target=write, args=(f"s{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    files = [file for file in tmp_path.iterdir() if not file.name.endswith(".lock")]
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert errors == []
    assert len({(one["service_name"], one["span_name"]) for one in found}) == 400
    assert len(files) > 2


def test_lines_on_standard_output_are_json_in_a_worker_too():
    script = (
        "from hub.setup import ensure_django; ensure_django()\n"
        "from hub.celery import app\n"
        "from hub.telemetry.jsonlines import CONSOLE, JsonLinesSink\n"
        "from hub.telemetry.values import TraceSpan\n"
        "app.log.setup(redirect_stdouts=True)\n"  # as a worker and its children do
        "JsonLinesSink(CONSOLE)([TraceSpan(name, 's', start=1.0, end=2.0) for name in ('a', 'b')])\n"
    )

    ran = subprocess.run([sys.executable, "-c", script], env=hub_environment(), capture_output=True, text=True, timeout=110)

    assert [json.loads(line)["span_name"] for line in ran.stdout.splitlines()] == ["a", "b"], ran.stderr
