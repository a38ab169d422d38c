"""What beat sends for the sagas."""

BEAT = {
    "hub: sweep sagas": {"task": "hub.control.sweep_sagas", "schedule": 2.0, "options": {"queue": "hub.control"}},
    "hub: prune sagas": {"task": "hub.control.prune_sagas", "schedule": 3600.0, "options": {"queue": "hub.control"}},
}
