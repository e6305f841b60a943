"""The error that a user can cause: bad input, told in one line."""

from typing import Any

LONGEST = 200
"""Characters of a value that an error message shows."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that names the key or file, what was given and what is allowed.  The
    command line prints it and exits with code 2.
    """


def printable(value: Any) -> str:
    """A value as text for a terminal, on one line."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def shown(value: Any) -> str:
    """A value as `printable` text of limited length."""
    text = printable(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
