#!/usr/bin/env python3
"""The hub's command line. On a bare machine: `python3 manage.py up`, `python3 manage.py test`."""

import os
import sys

import bootstrap


def main():
    """Enter `.venv`, choose the settings, and let Django run the command."""
    bootstrap.enter(sys.argv)
    if sys.argv[1:2] == ["test"]:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        sys.argv.insert(2, "--")  # all that follows is pytest's, options too
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit(bootstrap.cure())
    named = os.environ["DJANGO_SETTINGS_MODULE"]
    if not is_there(named):
        sys.exit("DJANGO_SETTINGS_MODULE names " + named + ", which is not here. Unset it: it is meant for another program.")
    execute_from_command_line(sys.argv)


def is_there(module):
    """Tell whether a module can be found."""
    from importlib.util import find_spec  # not before it is known that this Python is new enough

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


if __name__ == "__main__":
    main()
