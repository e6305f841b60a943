"""The error that a user can cause: bad input, told in one line."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that names the key or file, what was given and what is allowed.  The
    command line prints it and exits with code 2.
    """
