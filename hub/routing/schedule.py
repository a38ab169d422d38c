"""What beat does for this room."""

BEAT = {"prune-requests": {"task": "hub.control.prune_requests", "schedule": 3600, "options": {"queue": "hub.control"}}}
