"""The one error that is the user's to mend."""


class UserError(Exception):
    """A mistake that the user can correct: the message names the file, key or option, says what is
    wrong and what to do. The command line prints it without a traceback and exits with status 1."""
