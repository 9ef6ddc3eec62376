"""The statements of leaderboard (docs/design.md, Ranking). Each runs in the caller's transaction."""
# ruff: noqa: S608 - the ranking order is put in; all values are parameters

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from shared.db.connection import NO_LIMIT
from shared.db.ranking import ORDER_BY
from shared.domain.board import Board


class Chunk(NamedTuple):
    """A part of a board's new ranks, by the places of rows in `new_ranks`.

    Attributes:
        after: the last row of the chunk before.
        last: its own last row; in the last chunk, which may be empty, the end of the table.
    """

    after: str
    last: str

    @property
    def is_last(self) -> bool:
        """Whether no other follows it."""
        return self.last == END


START, END = "(0,0)", "(4294967295,0)"  # before and behind every row of `new_ranks`


# S18: limited by the time that is left: weeks without a ranking leave more touches than a minute suffices for.
_CLAIM_TOUCHES = text("""
    WITH taken AS (DELETE FROM leaderboard_touches RETURNING game_type, period_type, period_date)
    INSERT INTO leaderboards (game_type, period_type, period_date)
    SELECT DISTINCT game_type, period_type, period_date FROM taken
    ORDER BY game_type, period_type, period_date
    ON CONFLICT (game_type, period_type, period_date) DO UPDATE
    SET is_pending = true, generation = leaderboards.generation + 1
""").execution_options(**{NO_LIMIT: True})


def claim_touches(connection: Connection) -> None:
    """Turn the touches that are committed by now into pending boards.

    Both or neither: a crash after this leaves pending boards, and a writer that commits later leaves a touch for the
    next claim. Nothing is compared with a time, so nothing is missed. A ranker that is at work on such a board has read
    it before the touch: it loses the board, so that it cannot clear it (S20).
    """
    connection.execute(_CLAIM_TOUCHES)


# S18: final ranks first; all-time boards, which grow forever, last. The end of a period in days tells them apart.
_IN_ORDER = """
    ORDER BY CASE period_type WHEN 'daily' THEN period_date + 1 WHEN 'weekly' THEN period_date + 7 ELSE 'infinity' END,
             period_type, game_type
"""
_LIST_PENDING_BOARDS = text(f"""
    SELECT game_type, period_type, period_date FROM leaderboards WHERE is_pending {_IN_ORDER}
""")


def list_pending_boards(connection: Connection) -> list[Board]:
    """The boards that were touched since they were last ranked, the earliest end first."""
    return _boards(connection.execute(_LIST_PENDING_BOARDS))


_LIST_TOUCHED_BOARDS = text(f"""
    SELECT * FROM (
        SELECT game_type, period_type, period_date FROM leaderboards WHERE is_pending
        UNION
        SELECT game_type, period_type, period_date FROM leaderboard_touches
    ) AS touched {_IN_ORDER}
""")


def list_touched_boards(connection: Connection) -> list[Board]:
    """The boards that a claim would turn pending, with those that are: for a dry run."""
    return _boards(connection.execute(_LIST_TOUCHED_BOARDS))


_COUNT_BOARDS = text("SELECT count(*) FROM leaderboards")


def count_boards(connection: Connection) -> int:
    """How many boards have ever been touched."""
    count: int = connection.execute(_COUNT_BOARDS).scalar_one()
    return count


_TAKE_BOARD = text("""
    UPDATE leaderboards SET generation = generation + 1
    WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date AND is_pending
    RETURNING generation
""")


def take_board(connection: Connection, board: Board) -> int | None:
    """Become the one ranker of a pending board; return its new generation, the fence token of every chunk.

    Waits for the chunk that an earlier ranker is writing; its next one will be refused.

    Returns:
        None when another run has ranked it.
    """
    generation: int | None = connection.execute(_TAKE_BOARD, board.key).scalar_one_or_none()
    return generation


_CREATE_NEW_RANKS = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS new_ranks (id bigint NOT NULL, rank integer NOT NULL)
""")


def create_new_ranks(connection: Connection) -> None:
    """Create the connection's table of new ranks, unless it has one: it lives as long as the container."""
    connection.execute(_CREATE_NEW_RANKS)


_EMPTY_NEW_RANKS = text("TRUNCATE pg_temp.new_ranks")


def empty_new_ranks(connection: Connection) -> None:
    """Clear the new ranks of the board before."""
    connection.execute(_EMPTY_NEW_RANKS)


_READ_IN_TABLE_ORDER = text("""
    SELECT set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true)
""")


def read_in_table_order(connection: Connection) -> None:
    """Let this transaction read a board page by page, and sort it.

    The planner would rather walk the ranking index, whose order is random in the table: a board of 1M takes three to
    four times as long, and one that is larger than the server's memory reads its pages again and again (S18).
    """
    connection.execute(_READ_IN_TABLE_ORDER)


# What a ranking would write: the entries of the board whose place is not their rank.
_CHANGED_RANKS = f"""
    SELECT id, place FROM (
        SELECT id, rank, row_number() OVER (ORDER BY {ORDER_BY}) AS place FROM leaderboard_entries
        WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date
    ) AS placed
    WHERE rank IS DISTINCT FROM place
"""
# S18: limited by the time that is left, and not to a minute, which a large enough board would exceed each time.
_COMPUTE_NEW_RANKS = text(f"INSERT INTO pg_temp.new_ranks (id, rank) {_CHANGED_RANKS} ORDER BY id").execution_options(
    **{NO_LIMIT: True}
)


def compute_new_ranks(connection: Connection, board: Board) -> None:
    """Read the whole board on one snapshot and store the ranks that change in `new_ranks`, in the order of the ids."""
    connection.execute(_COMPUTE_NEW_RANKS, board.key)


_COUNT_NEW_RANKS = text(f"SELECT count(*) FROM ({_CHANGED_RANKS}) AS changed").execution_options(**{NO_LIMIT: True})


def count_new_ranks(connection: Connection, board: Board) -> int:
    """How many ranks of the board a ranking would change: for a dry run."""
    count: int = connection.execute(_COUNT_NEW_RANKS, board.key).scalar_one()
    return count


# S04: a generation that was passed holds nothing, and so writes nothing.
_HOLD_BOARD = text("""
    SELECT generation
    FROM leaderboards
    WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date
      AND generation = :generation
    FOR NO KEY UPDATE
""")


def hold_board(connection: Connection, board: Board, *, generation: int) -> bool:
    """Keep the board from other rankers until this transaction ends. False: a newer ranker has taken it (S04)."""
    return connection.execute(_HOLD_BOARD, {**board.key, "generation": generation}).one_or_none() is not None


# A range of ctids is scanned forward: the chunks follow each other without an index.
_FIND_CHUNK = text("""
    SELECT CAST(ctid AS text) FROM pg_temp.new_ranks WHERE ctid > CAST(:after AS tid) OFFSET :most - 1 LIMIT 1
""")


def find_chunk(connection: Connection, *, after: str, most: int) -> Chunk:
    """The next new ranks in the order of the entries' ids, which is near that of their pages.

    Args:
        connection: that of `compute_new_ranks`.
        after: the last row of the chunk before; `START` for the first.
        most: rows in a chunk: few enough that score submissions do not wait.
    """
    last = connection.execute(_FIND_CHUNK, {"after": after, "most": most}).scalar_one_or_none()
    return Chunk(after=after, last=last or END)


_CHUNK = "chunk.ctid > CAST(:after AS tid) AND chunk.ctid <= CAST(:last AS tid)"
# The list of ids, which a join alone would not need: the server walks through their index once instead of entering it
# for each, a quarter faster, and expects to find so few that it never reads the whole table.
_WRITE_NEW_RANKS = text(f"""
    UPDATE leaderboard_entries AS entry SET rank = chunk.rank FROM pg_temp.new_ranks AS chunk
    WHERE {_CHUNK} AND entry.id = chunk.id
      AND entry.id = ANY (ARRAY (SELECT chunk.id FROM pg_temp.new_ranks AS chunk WHERE {_CHUNK}))
""")


def write_new_ranks(connection: Connection, chunk: Chunk) -> int:
    """Write a chunk in a transaction that holds the board; return how many of its entries are still there."""
    return connection.execute(_WRITE_NEW_RANKS, chunk._asdict()).rowcount


_COMMIT_WITHOUT_WAITING = text("SET LOCAL synchronous_commit = off")


def commit_without_waiting(connection: Connection) -> None:
    """Leave this chunk's way to the disk to the commit that finishes the board, which makes all before it durable.

    A server that crashes in between forgets ranks of a board that is still pending: they are computed again.
    """
    connection.execute(_COMMIT_WITHOUT_WAITING)


# S02: until the next touch there is nothing to rank, however many slots pass or were missed.
_FINISH_BOARD = text("""
    UPDATE leaderboards SET is_pending = false, ranked_at = :ranked_at
    WHERE game_type = :game_type AND period_type = :period_type AND period_date = :period_date
""")


def finish_board(connection: Connection, board: Board, *, now: datetime) -> None:
    """Note that the board is ranked, in a transaction that holds it."""
    connection.execute(_FINISH_BOARD, {**board.key, "ranked_at": now})


def _boards(rows: Iterable[Any]) -> list[Board]:
    return [Board.from_key(game_type, period_type, period_date) for game_type, period_type, period_date in rows]
