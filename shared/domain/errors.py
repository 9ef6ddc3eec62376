"""The base of every error that is reported to a person."""


class ArcadeJobsError(Exception):
    """Something that its reader can act on: one line, or one line for each mistake, without a secret in it.

    The command prints it and exits with 1. Any other exception is a bug, and prints its traceback.
    """


class BadInputError(ArcadeJobsError):
    """A value that was given is wrong, and nothing was done. The command exits with 2."""


class NotReachableError(ArcadeJobsError):
    """What the command needs is not there, does not answer or refuses the caller. It exits with 3."""
