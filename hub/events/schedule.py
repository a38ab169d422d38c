"""What beat sends for the bus."""

BEAT = {"hub: prune events": {"task": "hub.control.prune_events", "schedule": 600.0, "options": {"queue": "hub.control"}}}
