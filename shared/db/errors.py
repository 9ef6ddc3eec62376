"""What a database error means: whether to retry, and how to describe it in one line.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from ssl import SSLEOFError, SSLError

from sqlalchemy.exc import DBAPIError

from shared.domain.errors import ArcadeJobsError

CONNECTION_LOST = frozenset(
    {
        *("08000", "08001", "08003", "08004", "08006"),  # connection exceptions
        *("25P03", "57P01", "57P02", "57P05"),  # the server ended the session
        *("53300", "57P03"),  # the server is full, or starting
    }
)
# S15: what is worth a retry. All else is final.
TRANSIENT = CONNECTION_LOST | {"40001", "40P01"}  # serialization failure, deadlock
QUERY_CANCELED = "57014"
CANNOT_CONNECT = "cannot connect to "
# A table or column is missing, or a right on one that is new: the schema is older than the functions.
BEHIND = frozenset({"42P01", "42703", "42501"})


def sqlstate(error: BaseException) -> str | None:
    """The five characters that PostgreSQL sent with the error; None if it sent none."""
    return _field(error, "C")


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is retried.

    True for serialization failures, deadlocks, lost connections and a server that is full, starting or failing over.
    """
    return is_connection_lost(error) or sqlstate(error) in TRANSIENT


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection broke or could not be opened.

    Continuing with the next pool or board would wait for the same database again (S15).
    """
    code = sqlstate(error)
    if code is not None:
        return code in CONNECTION_LOST
    cause = getattr(error.orig, "__cause__", None) if isinstance(error, DBAPIError) else error
    if isinstance(cause, OSError):  # a server that hangs up may be back; a certificate that is refused stays so
        return isinstance(cause, SSLEOFError) or not isinstance(cause, SSLError)
    if not isinstance(error, DBAPIError):
        return False
    text = str(error.orig)
    return error.connection_invalidated or "network error" in text or text.startswith("connection is closed")


def is_canceled(error: BaseException) -> bool:
    """Whether the server ended a statement at its time limit."""
    return sqlstate(error) == QUERY_CANCELED


def describe(error: BaseException) -> str:
    """One line for an operator: PostgreSQL's own message, without statement or parameters."""
    message = _field(error, "M")
    if message is not None:
        code = sqlstate(error)
        hint = "; run arcade-jobs db upgrade" if code in BEHIND else ""
        return _one_line(f"{message} (SQLSTATE {code}){hint}")
    if isinstance(error, DBAPIError):
        text = str(error.orig)
        return _one_line(text if text.startswith(CANNOT_CONNECT) else f"database: {text}")
    if isinstance(error, ArcadeJobsError):
        return _one_line(str(error))
    return _one_line(f"{type(error).__name__}: {error}")


def _field(error: BaseException, key: str) -> str | None:
    """A field of the server's error response: https://www.postgresql.org/docs/current/protocol-error-fields.html."""
    original: BaseException | None = error if isinstance(error, OSError) else getattr(error, "orig", None)
    # A server that refuses a connection hangs up. pg8000 then fails to send its Terminate, and that error hides it.
    while original is not None:
        fields = original.args[0] if original.args else None
        if isinstance(fields, dict):
            return str(fields[key]) if key in fields else None
        original = original.__context__
    return None


def _one_line(text: str) -> str:
    """On one line, and what commands a terminal escaped: a message may quote what a player sent."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))
