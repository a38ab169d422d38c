"""Passwords of tests: made in no time, and understood by every process of the hub."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickHasher(PBKDF2PasswordHasher):
    """Django's own, with one round: a quarter of a second is spent on nothing else for each person that a test makes."""

    iterations = 1
