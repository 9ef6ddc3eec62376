"""The statements for abandoned sessions (docs/design.md, Cleaning). Each runs in the caller's transaction."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from shared.db.batches import walk_by_key


class SessionKey(NamedTuple):
    """A position in the sessions, which are walked by age, then id."""

    created_at: datetime
    id: UUID


class DeletedSessions(NamedTuple):
    """A batch of sessions; the amount in USDC. `left` are locked; `last` is None when the walk is at its end.

    `transaction` is its id; None if it changed nothing.
    """

    deleted: int
    amount_usdc: Decimal
    left: int
    last: SessionKey | None
    transaction: str | None = None


FIRST_SESSION = SessionKey(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))  # before every session

# S13: only what is still active; a completed session may back a winner.
# A row that is locked cannot move, so its place (ctid) is as good as its key, and need not be searched for again. Of a
# row that changed since the statement began the new place is locked, where this statement sees nothing: it stays.
# S12: LIKE instead of =, which the index of the active sessions would serve too, and with statistics of a night without
# any the planner would walk all of it.
_DELETE_EXPIRED_SESSIONS = text("""
    WITH batch AS (
        SELECT ctid, created_at, id FROM game_sessions
        WHERE status = 'active' AND created_at < :before AND (created_at, id) > (:after_created_at, :after_id)
        ORDER BY created_at, id
        LIMIT :most
    ), unlocked AS (
        SELECT ctid FROM game_sessions WHERE ctid = ANY (ARRAY(SELECT ctid FROM batch)) AND status LIKE 'active'
        FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM game_sessions WHERE ctid = ANY (ARRAY(SELECT ctid FROM unlocked))
        RETURNING amount_paid_usdc
    )
    SELECT (SELECT count(*) FROM deleted), (SELECT coalesce(sum(amount_paid_usdc), 0) FROM deleted),
           (SELECT count(*) FROM batch), created_at, id, CAST(pg_current_xact_id() AS text)
    FROM batch
    ORDER BY created_at DESC, id DESC
    LIMIT 1
""")


def delete_expired_sessions(
    connection: Connection, *, before: datetime, after: SessionKey, most: int
) -> DeletedSessions:
    """Delete the next unfinished sessions that were created before an instant; leave those that are locked.

    Args:
        connection: in whose transaction.
        before: sessions created then or later stay.
        after: the last session of the batch before: the walk never starts again at its dead rows.
        most: sessions in a batch.
    """
    walk_by_key(connection)
    parameters = {"before": before, "after_created_at": after.created_at, "after_id": after.id, "most": most}
    row = connection.execute(_DELETE_EXPIRED_SESSIONS, parameters).one_or_none()
    if row is None:
        return DeletedSessions(0, Decimal(0), 0, None)
    deleted, amount, found, created_at, session_id, transaction = row
    last = SessionKey(created_at, session_id) if found == most else None
    return DeletedSessions(deleted, amount, found - deleted, last, transaction)


_COUNT_EXPIRED_SESSIONS = text("""
    SELECT count(*), coalesce(sum(amount_paid_usdc), 0) FROM game_sessions
    WHERE status = 'active' AND created_at < :before AND (created_at, id) > (:after_created_at, :after_id)
""")


def count_expired_sessions(
    connection: Connection, *, before: datetime, after: SessionKey = FIRST_SESSION
) -> tuple[int, Decimal]:
    """How many unfinished sessions after a key were created before an instant, and what was paid for them in USDC."""
    parameters = {"before": before, "after_created_at": after.created_at, "after_id": after.id}
    sessions, amount = connection.execute(_COUNT_EXPIRED_SESSIONS, parameters).one()
    return sessions, amount
