"""The file sink under several processes that rotate it at once."""

import json
import threading

from hub.telemetry.jsonlines import JsonLinesSink
from hub.telemetry.values import TraceSpan


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
