"""Statements that remove unfinished business (DESIGN section 2, Cleaning). Each runs in the caller's transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Connection, and_, any_, bindparam, delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from shared.db.tables import game_sessions as s
from shared.db.tables import leaderboard_entries as e


class SessionKey(NamedTuple):
    """Where a walk over the sessions stands: they are walked by age, then id."""

    created_at: datetime
    id: UUID


class DeletedSessions(NamedTuple):
    """A batch of sessions that was deleted; the amount in USDC. `last` is None when nothing was left to delete."""

    sessions: int
    amount_usdc: Decimal
    last: SessionKey | None


class DeletedOrphans(NamedTuple):
    """A batch of orphans: how many were deleted, and how many were left because somebody holds them."""

    deleted: int
    left: int


FIRST_SESSION = SessionKey(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))  # before every session

# S12: the planner would read the whole table for each batch, to hash it (with fresh statistics) or to sort it (with old
# ones): 0.12 or 0.3 s on a million rows. The index has the order, and the ids are looked up one by one: 0.02 s.
_WALK_BY_KEY = select(
    *(
        func.set_config(f"enable_{way}", "off", True)  # noqa: FBT003 - set_config's is_local: for this transaction
        for way in ("hashjoin", "mergejoin", "bitmapscan", "seqscan")
    )
)
# S13: a completed session may back a winner.
_is_expired = and_(s.c.status == "active", s.c.created_at < bindparam("before"))
_batch = (
    select(s.c.created_at, s.c.id)
    .where(_is_expired, tuple_(s.c.created_at, s.c.id) > tuple_(bindparam("after_created_at"), bindparam("after_id")))
    .order_by(s.c.created_at, s.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("batch")
)
_deleted = delete(s).where(s.c.id == _batch.c.id).returning(s.c.amount_paid_usdc).cte("deleted")
_last = select(_batch).order_by(_batch.c.created_at.desc(), _batch.c.id.desc()).limit(1).subquery("last")
_DELETE_EXPIRED_SESSIONS = select(
    select(func.count()).select_from(_deleted).scalar_subquery(),
    select(func.coalesce(func.sum(_deleted.c.amount_paid_usdc), 0)).scalar_subquery(),
    _last.c.created_at,
    _last.c.id,
)


def delete_expired_sessions(
    connection: Connection, *, before: datetime, after: SessionKey, most: int
) -> DeletedSessions:
    """Delete the next unfinished sessions that were created before an instant; leave those that somebody holds.

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
    count, amount, created_at, session_id = row
    return DeletedSessions(count, amount, SessionKey(created_at, session_id))


_COUNT_EXPIRED_SESSIONS = select(func.count(), func.coalesce(func.sum(s.c.amount_paid_usdc), 0)).where(_is_expired)


def count_expired_sessions(connection: Connection, *, before: datetime) -> tuple[int, Decimal]:
    """How many unfinished sessions were created before an instant, and what was paid for them in USDC."""
    count, amount = connection.execute(_COUNT_EXPIRED_SESSIONS, {"before": before}).one()
    return count, amount


_LAST_ENTRY_ID = select(func.coalesce(func.max(e.c.id), 0))


def get_last_entry_id(connection: Connection) -> int:
    """The highest id of an entry; 0 when there are none."""
    last_id: int = connection.execute(_LAST_ENTRY_ID).scalar_one()
    return last_id


_in_range = and_(e.c.id > bindparam("after_id"), e.c.id <= bindparam("up_to_id"), e.c.created_at < bindparam("before"))
# S13: an entry whose session is there, or that is so young that its session may be on its way, is no orphan.
_has_session = exists().where(s.c.id == e.c.session_id)
_ORPHANS = select(e.c.id).where(_in_range, ~_has_session).order_by(e.c.id)


def list_orphaned_entries(connection: Connection, *, before: datetime, after_id: int, up_to_id: int) -> list[int]:
    """The ids of entries in a range whose session does not exist and whose score was reached before an instant."""
    return list(connection.scalars(_ORPHANS, {"before": before, "after_id": after_id, "up_to_id": up_to_id}))


_has_lasting_session = exists().where(s.c.id == e.c.session_id, ~_is_expired)
_COUNT_ORPHANS_TO_BE = select(func.count()).select_from(e).where(_in_range, ~_has_lasting_session)


def count_orphans_to_be(connection: Connection, *, before: datetime, after_id: int, up_to_id: int) -> int:
    """How many entries in a range would be orphans once the expired sessions are deleted: for a dry run."""
    parameters = {"before": before, "after_id": after_id, "up_to_id": up_to_id}
    return connection.execute(_COUNT_ORPHANS_TO_BE, parameters).scalar_one()


_is_orphan = and_(
    e.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))), e.c.created_at < bindparam("before"), ~_has_session
)
_orphans = select(e.c.id).where(_is_orphan).cte("orphans")
_free = select(e.c.id).where(_is_orphan).with_for_update(skip_locked=True, of=e).cte("free")
_deleted_orphans = delete(e).where(e.c.id == _free.c.id).returning(e.c.id).cte("deleted_orphans")
_DELETE_ORPHANS = select(
    select(func.count()).select_from(_deleted_orphans).scalar_subquery(),
    select(func.count()).select_from(_orphans).scalar_subquery(),
)


def delete_orphaned_entries(connection: Connection, *, ids: Sequence[int], before: datetime) -> DeletedOrphans:
    """Delete the entries that are orphans still; leave those that a player or a ranking holds.

    Ids are in nobody's lock order: waiting for one entry while holding another could be a deadlock (S08).
    """
    deleted, orphans = connection.execute(_DELETE_ORPHANS, {"ids": list(ids), "before": before}).one()
    return DeletedOrphans(deleted, left=orphans - deleted)
