"""Django's Postgres backend with a limit to each wait for an answer."""
