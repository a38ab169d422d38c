"""What beat sends for the console."""

BEAT = {
    "hub: prune operator actions": {
        "task": "hub.control.prune_operator_actions",
        "schedule": 86_400.0,
        "options": {"queue": "hub.control"},
    }
}
