"""A layer that is a plain Celery worker. It has never heard of the hub."""
