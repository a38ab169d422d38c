"""A small world in which the real machine runs: many processes, a lossy queue and network, a target with a ledger.

`world` lets processes interleave, crash, pause and come back. `target` is what the steps act on, over a `network`. `rows`
does around the machine what the store does with a database; `shell` and `caller` do what the engine does with Celery.
"""
