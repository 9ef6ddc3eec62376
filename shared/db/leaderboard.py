"""Statements over leaderboards (DESIGN section 2, Ranking). Each runs in the caller's transaction."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from shared.db.tables import leaderboard_entries as e
from shared.db.tables import leaderboard_touches as t
from shared.db.tables import leaderboards as b
from shared.db.tables import ranking_order


class Board(NamedTuple):
    """The key of a leaderboard: of a game, in a period."""

    game_type: str
    period_type: str
    period_date: date


class Chunk(NamedTuple):
    """A part of a board's new ranks.

    Attributes:
        rows: how many new ranks it had; fewer than were asked for in the last chunk.
        written: those whose entry is still there.
        last_id: the highest entry id in it; the next chunk goes on from there. 0 for no rows.
    """

    rows: int
    written: int
    last_id: int


_BOARD_KEY = (b.c.game_type, b.c.period_type, b.c.period_date)
_ENTRY_KEY = (e.c.game_type, e.c.period_type, e.c.period_date)
_PARAMETERS = ("board_game", "board_period", "board_date")  # an UPDATE keeps the columns' own names for its SET
_IS_BOARD = and_(*(column == bindparam(name) for column, name in zip(_BOARD_KEY, _PARAMETERS, strict=True)))
_IS_ON_BOARD = and_(*(column == bindparam(name) for column, name in zip(_ENTRY_KEY, _PARAMETERS, strict=True)))

_taken = delete(t).returning(t.c.game_type, t.c.period_type, t.c.period_date).cte("taken")
_CLAIM_TOUCHES = (
    upsert(b)
    .from_select(
        ["game_type", "period_type", "period_date"],
        select(_taken.c.game_type, _taken.c.period_type, _taken.c.period_date).distinct().order_by(*_taken.c),
    )
    .on_conflict_do_update(index_elements=list(_BOARD_KEY), set_={"is_pending": True})
)


def claim_touches(connection: Connection) -> None:
    """Turn the touches that are committed by now into pending boards.

    Both or neither: whoever crashes after this leaves pending boards, and a writer that commits later leaves a touch
    for the next claim. Nothing is compared with a time, so nothing is missed.
    """
    connection.execute(_CLAIM_TOUCHES)


_PENDING = select(*_BOARD_KEY).where(b.c.is_pending).order_by(b.c.period_date, b.c.period_type, b.c.game_type)


def list_pending_boards(connection: Connection) -> list[Board]:
    """The boards that were touched since they were last ranked, the oldest period first."""
    return [Board(*row) for row in connection.execute(_PENDING)]


_touched = union(select(*_BOARD_KEY).where(b.c.is_pending), select(*t.c)).subquery("touched")
_WOULD_RANK = select(_touched).order_by(_touched.c.period_date, _touched.c.period_type, _touched.c.game_type)


def list_touched_boards(connection: Connection) -> list[Board]:
    """The boards that a claim would make pending, with those that are: for a dry run."""
    return [Board(*row) for row in connection.execute(_WOULD_RANK)]


_COUNT_BOARDS = select(func.count()).select_from(b)


def count_boards(connection: Connection) -> int:
    """How many boards have ever been touched."""
    return connection.execute(_COUNT_BOARDS).scalar_one()


_TAKE_BOARD = update(b).where(_IS_BOARD, b.c.is_pending).values(generation=b.c.generation + 1).returning(b.c.generation)


def take_board(connection: Connection, board: Board) -> int | None:
    """Become the one ranker of a pending board; return its new generation. None: somebody else has ranked it.

    Waits for the chunk that an earlier ranker is writing; its next one will be refused.
    """
    return connection.execute(_TAKE_BOARD, _key(board)).scalar_one_or_none()


# The ranks of one board that are to change; private to the connection, which lives as long as the container.
_new_ranks = Table(
    "new_ranks",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("rank", Integer, nullable=False),
    prefixes=["TEMPORARY"],
    schema="pg_temp",
)
_CREATE_NEW_RANKS = text(
    "CREATE TEMPORARY TABLE IF NOT EXISTS new_ranks (id bigint PRIMARY KEY, rank integer NOT NULL)"
)


def create_new_ranks(connection: Connection) -> None:
    """Make the connection's table of new ranks, unless it has one."""
    connection.execute(_CREATE_NEW_RANKS)


_EMPTY_NEW_RANKS = text("TRUNCATE pg_temp.new_ranks")


def empty_new_ranks(connection: Connection) -> None:
    """Forget the new ranks of the board before."""
    connection.execute(_EMPTY_NEW_RANKS)


_placed = (
    select(e.c.id, e.c.rank, func.row_number().over(order_by=ranking_order()).label("place"))
    .where(_IS_ON_BOARD)
    .subquery("placed")
)
_changed = select(_placed.c.id, _placed.c.place).where(_placed.c.rank.is_distinct_from(_placed.c.place))
_COMPUTE_NEW_RANKS = insert(_new_ranks).from_select(["id", "rank"], _changed.order_by(_placed.c.id))


def compute_new_ranks(connection: Connection, board: Board) -> None:
    """Read the whole board and keep the ranks that are to change."""
    connection.execute(_COMPUTE_NEW_RANKS, _key(board))


_COUNT_NEW_RANKS = select(func.count()).select_from(_changed.subquery())


def count_new_ranks(connection: Connection, board: Board) -> int:
    """How many ranks of the board a ranking would change: for a dry run."""
    return connection.execute(_COUNT_NEW_RANKS, _key(board)).scalar_one()


# The planner would hash all entries for each chunk; the chunk's ids are looked up one by one instead.
# S04: a generation that was passed holds nothing, and so writes nothing.
_HOLD_BOARD = (
    select(
        func.set_config("enable_hashjoin", "off", True),  # noqa: FBT003 - set_config's is_local: for this transaction
        func.set_config("enable_mergejoin", "off", True),  # noqa: FBT003
    )
    .select_from(b)
    .where(_IS_BOARD, b.c.generation == bindparam("held_generation"))
    .with_for_update(key_share=True, of=b)
)


def hold_board(connection: Connection, board: Board, *, generation: int) -> bool:
    """Keep the board from other rankers until this transaction ends. False: a newer ranker has taken it (S04)."""
    parameters = _key(board) | {"held_generation": generation}
    return connection.execute(_HOLD_BOARD, parameters).one_or_none() is not None


_chunk = (
    select(_new_ranks.c.id, _new_ranks.c.rank)
    .where(_new_ranks.c.id > bindparam("after_id"))
    .order_by(_new_ranks.c.id)
    .limit(bindparam("most"))
    .cte("chunk")
)
_written = update(e).where(e.c.id == _chunk.c.id).values(rank=_chunk.c.rank).returning(e.c.id).cte("written")
_WRITE_CHUNK = select(
    func.count(),
    select(func.count()).select_from(_written).scalar_subquery(),
    func.coalesce(func.max(_chunk.c.id), 0),
).select_from(_chunk)


def write_new_ranks(connection: Connection, *, after_id: int, most: int) -> Chunk:
    """Write the next new ranks in the order of the entries' ids, which is near that of their pages.

    Args:
        connection: whose transaction holds the board.
        after_id: the last id of the chunk before; 0 for the first.
        most: rows in a chunk: few enough that score submissions do not wait.
    """
    return Chunk(*connection.execute(_WRITE_CHUNK, {"after_id": after_id, "most": most}).one())


# S02: until the next touch there is nothing to rank, however many slots pass or were missed.
_FINISH_BOARD = update(b).where(_IS_BOARD).values(is_pending=False, ranked_at=bindparam("now"))


def finish_board(connection: Connection, board: Board, *, now: datetime) -> None:
    """Note that the board is ranked, in a transaction that holds it."""
    connection.execute(_FINISH_BOARD, _key(board) | {"now": now})


def _key(board: Board) -> dict[str, object]:
    return dict(zip(_PARAMETERS, board, strict=True))
