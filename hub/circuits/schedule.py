"""What beat does for this room."""

BEAT = {
    "record-circuit-transitions": {"task": "hub.control.circuits_record", "schedule": 2, "options": {"queue": "hub.control"}},
    "prune-circuit-transitions": {"task": "hub.control.prune_circuits", "schedule": 3600, "options": {"queue": "hub.control"}},
}
