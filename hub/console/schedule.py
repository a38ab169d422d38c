"""What beat sends for the console."""

_CONTROL = {"queue": "hub.control"}
BEAT = {
    "hub: prune operator actions": {"task": "hub.control.prune_operator_actions", "schedule": 86_400.0, "options": _CONTROL},
    "hub: sweep batches": {"task": "hub.control.sweep_batches", "schedule": 5.0, "options": _CONTROL},
    "hub: ask who reads which queue": {"task": "hub.control.ask_readers", "schedule": 15.0, "options": _CONTROL},
}
