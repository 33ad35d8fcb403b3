"""The error that is reported to the user without a traceback."""


class UserError(Exception):
    """A mistake that the user can correct. The message names the file, key or option, says what is
    wrong and what to do. The command line prints it without a traceback and exits with status 1."""
