"""An app whose event handler never ends when its event says so, for a worker of the hub."""

HANDLER = "tests.hang"
