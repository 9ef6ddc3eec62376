"""The statements of cleanup (docs/design.md, Cleaning). Each runs in the caller's transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text


class SessionKey(NamedTuple):
    """A position in the sessions, which are walked by age, then id."""

    created_at: datetime
    id: UUID


class DeletedSessions(NamedTuple):
    """A batch of sessions that was deleted; the amount in USDC. `last` is None when nothing was left to delete."""

    sessions: int
    amount_usdc: Decimal
    last: SessionKey | None


class DeletedOrphans(NamedTuple):
    """A batch of orphans: how many were deleted, and how many were left because another transaction holds them."""

    deleted: int
    left: int


FIRST_SESSION = SessionKey(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))  # before every session

_CHECK_TOUCHES = text("SELECT FROM leaderboard_touches LIMIT 0")


def check_touches(connection: Connection) -> None:
    """Fail if the tables are not adopted yet: nothing may be deleted from them, and no ranking would notice."""
    connection.execute(_CHECK_TOUCHES)


# S12: the planner would read the whole table for each batch, to hash it (with fresh statistics) or to sort it (with old
# ones): 0.12 or 0.3 s on a million rows. The index has the order, and the ids are looked up one by one: 0.02 s.
_WALK_BY_KEY = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)
""")
# S13: only what is still active; a completed session may back a winner.
_DELETE_EXPIRED_SESSIONS = text("""
    WITH batch AS (
        SELECT created_at, id FROM game_sessions
        WHERE status = 'active' AND created_at < :before AND (created_at, id) > (:after_created_at, :after_id)
        ORDER BY created_at, id
        LIMIT :most
        FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM game_sessions AS session USING batch WHERE session.id = batch.id
        RETURNING session.amount_paid_usdc
    )
    SELECT (SELECT count(*) FROM deleted), (SELECT coalesce(sum(amount_paid_usdc), 0) FROM deleted), created_at, id
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
    connection.execute(_WALK_BY_KEY)
    parameters = {"before": before, "after_created_at": after.created_at, "after_id": after.id, "most": most}
    row = connection.execute(_DELETE_EXPIRED_SESSIONS, parameters).one_or_none()
    if row is None:
        return DeletedSessions(0, Decimal(0), None)
    sessions, amount, created_at, session_id = row
    return DeletedSessions(sessions, amount, SessionKey(created_at, session_id))


_COUNT_EXPIRED_SESSIONS = text("""
    SELECT count(*), coalesce(sum(amount_paid_usdc), 0) FROM game_sessions
    WHERE status = 'active' AND created_at < :before
""")


def count_expired_sessions(connection: Connection, *, before: datetime) -> tuple[int, Decimal]:
    """How many unfinished sessions were created before an instant, and what was paid for them in USDC."""
    sessions, amount = connection.execute(_COUNT_EXPIRED_SESSIONS, {"before": before}).one()
    return sessions, amount


_GET_LAST_ENTRY_ID = text("SELECT coalesce(max(id), 0) FROM leaderboard_entries")


def get_last_entry_id(connection: Connection) -> int:
    """The highest id of an entry; 0 when there are none."""
    last_id: int = connection.execute(_GET_LAST_ENTRY_ID).scalar_one()
    return last_id


# S13: an entry whose session is there, or that is so young that its session may be on its way, is no orphan.
_LIST_ORPHANED_ENTRIES = text("""
    SELECT id FROM leaderboard_entries AS entry
    WHERE id > :after_id AND id <= :up_to_id AND created_at < :before
      AND NOT EXISTS (SELECT FROM game_sessions AS session WHERE session.id = entry.session_id)
    ORDER BY id
""")


def list_orphaned_entries(connection: Connection, *, before: datetime, after_id: int, up_to_id: int) -> list[int]:
    """The ids of entries in a range whose session does not exist and whose score was reached before an instant."""
    parameters = {"before": before, "after_id": after_id, "up_to_id": up_to_id}
    return list(connection.scalars(_LIST_ORPHANED_ENTRIES, parameters))


_COUNT_FUTURE_ORPHANS = text("""
    SELECT count(*) FROM leaderboard_entries AS entry
    WHERE id > :after_id AND id <= :up_to_id AND created_at < :before
      AND NOT EXISTS (
          SELECT FROM game_sessions AS session
          WHERE session.id = entry.session_id AND NOT (session.status = 'active' AND session.created_at < :before)
      )
""")


def count_future_orphans(connection: Connection, *, before: datetime, after_id: int, up_to_id: int) -> int:
    """How many entries in a range would be orphans once the expired sessions are deleted: for a dry run."""
    parameters = {"before": before, "after_id": after_id, "up_to_id": up_to_id}
    count: int = connection.execute(_COUNT_FUTURE_ORPHANS, parameters).scalar_one()
    return count


_DELETE_ORPHANED_ENTRIES = text("""
    WITH orphan AS (
        SELECT id FROM leaderboard_entries AS entry
        WHERE id = ANY (:ids) AND created_at < :before
          AND NOT EXISTS (SELECT FROM game_sessions AS session WHERE session.id = entry.session_id)
    ), unlocked AS (
        SELECT entry.id FROM leaderboard_entries AS entry
        WHERE entry.id = ANY (:ids) AND entry.created_at < :before
          AND NOT EXISTS (SELECT FROM game_sessions AS session WHERE session.id = entry.session_id)
        FOR UPDATE OF entry SKIP LOCKED
    ), deleted AS (
        DELETE FROM leaderboard_entries AS entry USING unlocked WHERE entry.id = unlocked.id
        RETURNING entry.id
    )
    SELECT (SELECT count(*) FROM deleted), (SELECT count(*) FROM orphan)
""")


def delete_orphaned_entries(connection: Connection, *, ids: Sequence[int], before: datetime) -> DeletedOrphans:
    """Delete the entries that are orphans still; leave those that a player or a ranking holds.

    Entries are taken by id here, which is outside the lock order: to wait for one while holding another could be a
    deadlock (S08).
    """
    deleted, orphans = connection.execute(_DELETE_ORPHANED_ENTRIES, {"ids": list(ids), "before": before}).one()
    return DeletedOrphans(deleted, left=orphans - deleted)
