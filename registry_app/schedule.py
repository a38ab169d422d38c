"""What beat sends for the registry."""

BEAT = {
    "hub: probe services": {"task": "hub.control.probe_due", "schedule": 1.0, "options": {"queue": "hub.control"}},
    "hub: prune the registry": {"task": "hub.control.prune_registry", "schedule": 3600.0, "options": {"queue": "hub.control"}},
}
