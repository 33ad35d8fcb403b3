"""The errors that are reported to the user without a traceback."""


class UserError(Exception):
    """A mistake that the user can correct. The message names the file, key or option, says what is
    wrong and what to do. The command line prints it without a traceback and exits with status 1."""


class UsageError(UserError):
    """A command line that is no complete, valid command. It ends with status 2, as in argparse."""
