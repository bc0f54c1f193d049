"""Errors that a command reports in one line."""


class BadInput(Exception):
    """A user's mistake; the message is one line: what is wrong, where, and what to do."""


class Failure(Exception):
    """A failure at run time that needs no traceback; the message is one line, as above."""
