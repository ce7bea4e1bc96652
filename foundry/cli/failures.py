"""How a command ends when it cannot do what was asked."""

from __future__ import annotations

ERRORS = 1  # what was given has errors
MISUSE = 2  # the command line itself is wrong
INTERRUPTED = 130  # Ctrl-C
BROKEN_PIPE = 141  # the reader of our output went away


class Failure(Exception):
    """One clear line for the person at the terminal, and the exit code."""

    def __init__(self, message: str, code: int = ERRORS):
        super().__init__(message)
        self.message, self.code = message, code


class Misuse(Failure):
    """A command line that asks for what cannot be done."""

    def __init__(self, message: str):
        super().__init__(message, MISUSE)
