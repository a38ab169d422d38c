"""What beat sends for this room."""

_CONTROL = {"queue": "hub.control"}
BEAT = {
    "hub: prune spans": {"task": "hub.control.prune_spans", "schedule": 600.0, "options": _CONTROL},
    "hub: move counts": {"task": "hub.control.move_counts", "schedule": 15.0, "options": _CONTROL},
}
