"""The hub's worker with one task more: what a call costs in it, bare, guarded and routed."""

import statistics
import time

from hub.celery import app

ROUND = 20
BODY, HEADERS = b'{"a":1}', {"content-type": "application/json"}


@app.task(name="tests.measure")
def measure(service_name, url, rounds):
    """Return the median milliseconds of each kind of call; the kinds take turns, so that a busy machine is busy for all."""
    import requests

    from hub.circuits import breaker
    from hub.routing import history, services

    session = requests.Session()
    session.trust_env = False

    def bare():
        session.post(f"{url}/x", data=BODY, headers=HEADERS, timeout=30).json()

    def guarded():
        breaker.execute(service_name, bare)

    def routed():
        services.route(service_name, "POST", "/x", data={"a": 1})

    def unrecorded():
        keep, history.record = history.record, lambda *args, **options: None
        try:
            routed()
        finally:
            history.record = keep

    kinds = {"bare": bare, "guarded": guarded, "routed, no history": unrecorded, "routed": routed}
    taken = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, call in kinds.items():
            for _ in range(ROUND):
                started = time.perf_counter()
                call()
                taken[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values[ROUND:]) for name, values in taken.items()}
