"""What beat sends for this room."""

BEAT = {"hub: prune spans": {"task": "hub.control.prune_spans", "schedule": 600.0, "options": {"queue": "hub.control"}}}
