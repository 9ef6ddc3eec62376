"""The base of every error that is reported to a person."""


class ArcadeJobsError(Exception):
    """Something that its reader can act on: one line, or one line for each mistake, without a secret in it.

    The command prints it and exits with 1. Any other exception is a bug, and prints its traceback.
    """
