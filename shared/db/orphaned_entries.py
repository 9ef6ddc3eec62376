"""The statements for orphaned entries (docs/design.md, Cleaning). Each runs in the caller's transaction."""
# ruff: noqa: S608 - parts that statements share are put in; all values are parameters

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from shared.db.batches import walk_by_key
from shared.domain.board import Board


class SweptBoard(NamedTuple):
    """What a batch of the sweep read of one board: how many entries, and the ids of those without a session."""

    board: Board
    entries: int
    orphans: list[int]


class SweptEntries(NamedTuple):
    """A batch of the sweep, without boards that are settled. `last_id` is None when the sweep is at its end."""

    boards: list[SweptBoard]
    last_id: int | None


class Candidates(NamedTuple):
    """The entries of one board that may be orphans."""

    board: Board
    candidates: int
    is_settled: bool


class Orphans(NamedTuple):
    """A batch of a board's candidates: how many are orphans. `last_id` is None when the walk is at its end."""

    orphans: int
    last_id: int | None


class DeletedOrphans(NamedTuple):
    """A batch of a board's candidates. `left` are locked; `last_id` is None when the walk is at its end.

    `transaction` is its id.
    """

    deleted: int
    left: int
    last_id: int | None
    transaction: str


BEFORE_ALL_IDS = -(2**63)  # of entries, notices and candidates: an id may be 0 or negative

_HAS_NOTICES = text("""
    SELECT EXISTS (SELECT FROM arcade_jobs_deleted_sessions)
    FROM (SELECT count(*) FROM (SELECT FROM leaderboard_touches LIMIT 0) AS touch) AS adopted
""")


def has_notices(connection: Connection) -> bool:
    """Whether completed sessions were deleted.

    It fails if the tables are not adopted yet: nothing may be deleted from them, and no ranking would notice.
    """
    found: bool = connection.execute(_HAS_NOTICES).scalar_one()
    return found


# S17: found by the player, the game and the period, never by reading all entries. The local date of an instant is that
# of UTC or one beside it; a day more on each side is for a zone that changed.
_ENTRIES_OF_NOTICES = """
    CROSS JOIN LATERAL (
        VALUES ('daily', CAST(notice.completed_at AS date) - 2, CAST(notice.completed_at AS date) + 2),
               ('weekly', CAST(notice.completed_at AS date) - 8, CAST(notice.completed_at AS date) + 2),
               ('alltime', date '1970-01-01', date '1970-01-01')
    ) AS period (type, first, last)
    JOIN leaderboard_entries AS entry
      ON entry.player_address = notice.player_address AND entry.game_type = notice.game_type
     AND entry.period_type = period.type AND entry.period_date BETWEEN period.first AND period.last
     AND entry.session_id = notice.session_id
"""
# S28: the entries of a settled pool's board are part of its record.
_SETTLED_POOL = """
    SELECT FROM prize_pools AS pool
    WHERE pool.game_type = entry.game_type AND pool.period_type = entry.period_type
      AND pool.period_date = entry.period_date AND pool.status <> 'active'
"""
_TAKE_NOTICES = text(f"""
    WITH notice AS (
        DELETE FROM arcade_jobs_deleted_sessions
        WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM arcade_jobs_deleted_sessions WHERE id > :after_id ORDER BY id LIMIT :most FOR UPDATE
        ))
        RETURNING *
    ), candidate AS (
        INSERT INTO arcade_jobs_orphans (entry_id, game_type, period_type, period_date)
        SELECT entry.id, entry.game_type, entry.period_type, entry.period_date
        FROM notice {_ENTRIES_OF_NOTICES}
        WHERE NOT EXISTS ({_SETTLED_POOL})
        ON CONFLICT DO NOTHING
    )
    SELECT count(*), max(id) FROM notice
""")


def take_notices(connection: Connection, *, after_id: int, most: int) -> int | None:
    """Take the next notices of deleted sessions: their entries become candidates.

    Returns:
        The last notice's id; None when none is left.
    """
    walk_by_key(connection)
    taken, last_id = connection.execute(_TAKE_NOTICES, {"after_id": after_id, "most": most}).one()
    return last_id if taken == most else None


_GET_SWEEP = text("SELECT last_entry_id FROM arcade_jobs_sweep")


def get_sweep(connection: Connection) -> int | None:
    """The last entry that the sweep has read; None: it begins."""
    last_id: int | None = connection.execute(_GET_SWEEP).scalar_one_or_none()
    return last_id


_SET_SWEEP = text("""
    INSERT INTO arcade_jobs_sweep (last_entry_id) VALUES (:last_id)
    ON CONFLICT (is_only_row) DO UPDATE SET last_entry_id = excluded.last_entry_id
""")


def set_sweep(connection: Connection, last_id: int | None) -> None:
    """Record how far the sweep has come."""
    connection.execute(_SET_SWEEP, {"last_id": last_id})


# S17: OFFSET 0 keeps the planner from any other way than to probe key by key. Where it expects no rows (statistics of
# tables that were emptied) it would read a whole index for each.
_ENTRY_OF_CANDIDATE = """
    LEFT JOIN LATERAL (
        SELECT ctid, * FROM leaderboard_entries WHERE id = candidate.entry_id OFFSET 0
    ) AS entry ON true
"""


def _session_of(entry: str) -> str:
    return f"""
        LEFT JOIN LATERAL (SELECT id FROM game_sessions WHERE id = {entry}.session_id OFFSET 0) AS session ON true
    """


# By rows and not by ranges of ids: one id far ahead of the others costs nothing.
_SWEEP_ENTRIES = text(f"""
    WITH swept AS MATERIALIZED (
        SELECT id, session_id, game_type, period_type, period_date FROM leaderboard_entries
        WHERE id > :after_id
        ORDER BY id
        LIMIT :most
    ), entry AS MATERIALIZED (
        SELECT swept.game_type, period_type, period_date, count(*) AS entries, max(swept.id) AS last_id,
               coalesce(array_agg(swept.id) FILTER (WHERE session.id IS NULL), '{{}}') AS orphans
        FROM swept {_session_of("swept")}
        GROUP BY swept.game_type, period_type, period_date
    )
    SELECT *, EXISTS ({_SETTLED_POOL}) AS is_settled FROM entry
""")


def sweep_entries(connection: Connection, *, after_id: int | None, most: int) -> SweptEntries:
    """Read the next entries by id, and find those whose session does not exist."""
    walk_by_key(connection)
    parameters = {"after_id": BEFORE_ALL_IDS if after_id is None else after_id, "most": most}
    rows = connection.execute(_SWEEP_ENTRIES, parameters).all()
    boards = [
        SweptBoard(Board.from_key(row.game_type, row.period_type, row.period_date), row.entries, row.orphans)
        for row in rows
        if not row.is_settled
    ]
    is_at_end = sum(row.entries for row in rows) < most
    return SweptEntries(boards, None if is_at_end else max(row.last_id for row in rows))


_ADD_CANDIDATES = text("""
    INSERT INTO arcade_jobs_orphans (entry_id, game_type, period_type, period_date)
    SELECT unnest(CAST(:ids AS bigint[])), :game_type, :period_type, :period_date
    ON CONFLICT DO NOTHING
""")


def add_candidates(connection: Connection, board: Board, ids: Sequence[int]) -> None:
    """Note entries of a board that may be orphans."""
    connection.execute(_ADD_CANDIDATES, {"ids": list(ids), **board.key})


_LIST_CANDIDATES = text(f"""
    WITH entry AS MATERIALIZED (
        SELECT game_type, period_type, period_date, count(*) AS candidates FROM arcade_jobs_orphans
        GROUP BY game_type, period_type, period_date
    )
    SELECT *, EXISTS ({_SETTLED_POOL}) AS is_settled FROM entry
    ORDER BY game_type, period_type, period_date
""")


def list_candidates(connection: Connection) -> list[Candidates]:
    """Every board that has candidates, and how many."""
    return [
        Candidates(Board.from_key(row.game_type, row.period_type, row.period_date), row.candidates, row.is_settled)
        for row in connection.execute(_LIST_CANDIDATES)
    ]


_IS_BOARD = "game_type = :game_type AND period_type = :period_type AND period_date = :period_date"
_DROP_CANDIDATES = text(f"DELETE FROM arcade_jobs_orphans WHERE {_IS_BOARD}")


def drop_candidates(connection: Connection, board: Board) -> None:
    """Forget the candidates of a board."""
    connection.execute(_DROP_CANDIDATES, board.key)


# S13: an entry whose session is there, or that is so young that its session may be on its way, is no orphan.
_IS_ORPHAN = "session.id IS NULL AND entry.created_at < :before"
_COUNT_ORPHANS = text(f"""
    WITH candidate AS MATERIALIZED (
        SELECT entry_id FROM arcade_jobs_orphans
        WHERE {_IS_BOARD} AND entry_id > :after_id
        ORDER BY entry_id
        LIMIT :most
    )
    SELECT count(entry.id) FILTER (WHERE {_IS_ORPHAN}), count(*), max(candidate.entry_id)
    FROM candidate
    {_ENTRY_OF_CANDIDATE}
    {_session_of("entry")}
""")


def count_orphans(connection: Connection, board: Board, *, before: datetime, after_id: int, most: int) -> Orphans:
    """How many of a board's next candidates are orphans whose score was reached before an instant."""
    walk_by_key(connection)
    parameters = {**board.key, "before": before, "after_id": after_id, "most": most}
    orphans, found, last_id = connection.execute(_COUNT_ORPHANS, parameters).one()
    return Orphans(orphans, last_id if found == most else None)


_COUNT_ENTRIES = text(f"""
    SELECT count(*) FROM (SELECT FROM leaderboard_entries WHERE {_IS_BOARD} LIMIT :most) AS entry
""")


def count_entries(connection: Connection, board: Board, *, most: int | None) -> int:
    """How many entries a board has; no more than `most` are read."""
    walk_by_key(connection)
    count: int = connection.execute(_COUNT_ENTRIES, {**board.key, "most": most}).scalar_one()
    return count


_SAMPLE_BOARD = text(f"""
    SELECT count(*) FILTER (WHERE session.id IS NULL), count(*)
    FROM (SELECT session_id FROM leaderboard_entries WHERE {_IS_BOARD} LIMIT :most) AS entry
    {_session_of("entry")}
""")


def sample_board(connection: Connection, board: Board, *, most: int) -> tuple[int, int]:
    """How many of a board's entries have no session, and how many were read: no more than `most`."""
    walk_by_key(connection)
    orphans, entries = connection.execute(_SAMPLE_BOARD, {**board.key, "most": most}).one()
    return orphans, entries


_HOLD_OPEN_BOARD = text(f"""
    WITH pool AS (SELECT status FROM prize_pools WHERE {_IS_BOARD} FOR KEY SHARE SKIP LOCKED)
    SELECT (SELECT count(*) FROM pool WHERE status = 'active') = (SELECT count(*) FROM prize_pools WHERE {_IS_BOARD})
""")


def hold_open_board(connection: Connection, board: Board) -> bool:
    """Whether the board's pool, if it has one, is active and stays so for as long as the transaction lasts.

    A settlement that is under way is not waited for (S08): its pool counts as settled.
    """
    is_open: bool = connection.execute(_HOLD_OPEN_BOARD, board.key).scalar_one()
    return is_open


_DELETE_ORPHANS = text(f"""
    WITH candidate AS (
        SELECT ctid AS place, entry_id FROM arcade_jobs_orphans
        WHERE {_IS_BOARD} AND entry_id > :after_id
        ORDER BY entry_id
        LIMIT :most
        FOR UPDATE
    ), found AS MATERIALIZED (
        SELECT candidate.place, candidate.entry_id, entry.ctid AS entry_place, {_IS_ORPHAN} AS is_orphan,
               entry.id IS NULL OR session.id IS NOT NULL AS is_none
        FROM candidate
        {_ENTRY_OF_CANDIDATE}
        {_session_of("entry")}
    ), unlocked AS (
        SELECT ctid FROM leaderboard_entries
        WHERE ctid = ANY (ARRAY(SELECT entry_place FROM found WHERE is_orphan))
        FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM leaderboard_entries WHERE ctid = ANY (ARRAY(SELECT ctid FROM unlocked))
        RETURNING id
    ), dropped AS (
        DELETE FROM arcade_jobs_orphans
        WHERE ctid = ANY (ARRAY(SELECT place FROM found WHERE is_none OR entry_id IN (SELECT id FROM deleted)))
    )
    SELECT (SELECT count(*) FROM deleted), count(*) FILTER (WHERE is_orphan), count(*), max(entry_id),
           CAST(pg_current_xact_id() AS text)
    FROM found
""")


def delete_orphans(
    connection: Connection, board: Board, *, before: datetime, after_id: int, most: int
) -> DeletedOrphans:
    """Delete those of a board's next candidates that are orphans; forget those that are none (any more).

    Entries that a player or a ranking holds are left. They are taken by id here, which is outside the lock order: to
    wait for one while holding another could be a deadlock (S08).
    """
    walk_by_key(connection)
    parameters = {**board.key, "before": before, "after_id": after_id, "most": most}
    deleted, orphans, found, last_id, transaction = connection.execute(_DELETE_ORPHANS, parameters).one()
    return DeletedOrphans(deleted, orphans - deleted, last_id if found == most else None, transaction)


# PostgreSQL 15 would read all entries and their sessions, and join the candidates at last.
_PREVIEW_ORPHANS = text(f"""
    WITH candidate AS (
        SELECT entry_id FROM arcade_jobs_orphans
        UNION
        SELECT entry.id FROM arcade_jobs_deleted_sessions AS notice {_ENTRIES_OF_NOTICES}
        UNION
        SELECT unnest(CAST(:swept AS bigint[]))
    )
    SELECT entry.game_type, entry.period_type, entry.period_date, count(*)
    FROM candidate
    CROSS JOIN LATERAL (SELECT * FROM leaderboard_entries WHERE id = candidate.entry_id OFFSET 0) AS entry
    {_session_of("entry")}
    WHERE {_IS_ORPHAN} AND NOT EXISTS ({_SETTLED_POOL})
    GROUP BY entry.game_type, entry.period_type, entry.period_date
    ORDER BY entry.game_type, entry.period_type, entry.period_date
""")


def preview_orphans(connection: Connection, *, before: datetime, swept: Sequence[int]) -> list[tuple[Board, int]]:
    """How many orphans each board has among its candidates, the entries of notices, and those that a sweep found."""
    walk_by_key(connection)
    rows = connection.execute(_PREVIEW_ORPHANS, {"before": before, "swept": list(swept)})
    return [(Board.from_key(game, period, day), count) for game, period, day, count in rows]
