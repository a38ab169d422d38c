"""A small platform to watch the hub at work: three HTTP services, a layer on Celery, and two sagas over all of them."""
