"""The demo's platform, against boards and pools that Python counts by itself."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from infra.demo.count import count_settlements
from infra.demo.platform import Platform, PlatformError, list_entries, list_pools
from infra.demo.plays import Play, load_plays, load_settlements
from shared.domain.periods import Calendar, PeriodType
from tests.plays import Best, Key, expected_boards, expected_pools

UTC_ZONE = ZoneInfo("UTC")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def found_boards(engine: Engine) -> dict[Key, dict[str, Best]]:
    boards: dict[Key, dict[str, Best]] = defaultdict(dict)
    with engine.connect() as connection:
        for row in connection.execute(text("SELECT * FROM leaderboard_entries")):
            key = Key(row.game_type, row.period_type, row.period_date)
            boards[key][row.player_address] = Best(row.score, row.created_at, row.session_id)
    return boards


def found_pools(engine: Engine) -> dict[Key, tuple[Decimal, int]]:
    with engine.connect() as connection:
        pools = [pool.settlement for pool in list_pools(connection)]
    return {
        Key(pool.game_type, str(pool.period.type), pool.period.date): (pool.total_amount_usdc, pool.total_games)
        for pool in pools
    }


def two_hours_each(plays: list[Play]) -> Iterator[tuple[list[Play], list[Play]]]:
    """What starts and what is completed in each two hours."""
    instants = [MONDAY + timedelta(hours=2 * n) for n in range(22 * 12)]
    for begin, end in pairwise(instants):
        yield (
            [play for play in plays if begin <= play.created_at < end],
            [play for play in plays if play.completed_at and begin <= play.completed_at < end],
        )


def test_the_plays_are_three_weeks_of_an_arcade() -> None:
    plays = load_plays()
    assert len({play.session_id for play in plays}) == len(plays) == 6000
    assert sum(play.completed_at is None for play in plays) == 244
    assert {play.game_type for play in plays} == {"breakout", "pong", "snake", "space_invaders", "tetris"}
    assert [play.created_at for play in plays] == sorted(play.created_at for play in plays)
    assert plays[0].created_at > MONDAY
    assert max(play.completed_at for play in plays if play.completed_at) < MONDAY + timedelta(weeks=3)
    assert {play.amount_paid_usdc for play in plays} == {Decimal("0.01"), Decimal("0.02")}


def test_the_settlements_are_those_of_the_plays() -> None:
    plays = load_plays()
    pools, boards = expected_pools(plays, UTC_ZONE), expected_boards(plays, UTC_ZONE)
    settlements = load_settlements()
    assert len(settlements) == len(pools) == 120
    decided_by_time = 0
    for settlement in settlements:
        key = Key(settlement.game_type, str(settlement.period.type), settlement.period.date)
        (winner, best), *others = sorted(boards[key].items(), key=lambda line: (-line[1].score, line[1].created_at))
        decided_by_time += bool(others) and others[0][1].score == best.score
        assert (settlement.total_amount_usdc, settlement.total_games) == pools[key]
        assert (settlement.winner_address, settlement.winner_score) == (winner, best.score)
        assert settlement.entries == len(boards[key])
    assert decided_by_time == 29
    assert all(settlement.winner_score for settlement in settlements)


def test_the_count_of_a_simulation_agrees_with_the_settlements() -> None:
    counted = {(pool.game_type, pool.period): pool for pool in count_settlements(load_plays(), UTC_ZONE)}
    assert counted == {(pool.game_type, pool.period): pool for pool in load_settlements()}


@pytest.mark.parametrize("zone", ["America/Santiago", "Asia/Kolkata"])  # the replay is in UTC
def test_three_weeks_of_plays_fill_pools_and_boards(engine: Engine, zone: str) -> None:
    plays = load_plays()
    platform = Platform(engine=engine, calendar=Calendar.of(ZoneInfo(zone)))
    for started, completed in two_hours_each(plays):
        platform.receive(started=started, completed=completed)
    assert found_pools(engine) == expected_pools(plays, ZoneInfo(zone))
    assert found_boards(engine) == expected_boards(plays, ZoneInfo(zone))


def test_sessions_are_kept_as_they_were_played(engine: Engine) -> None:
    plays = load_plays()[:300]
    Platform(engine=engine, calendar=Calendar.of(UTC_ZONE)).receive(
        started=plays, completed=[play for play in plays if play.completed_at]
    )
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM game_sessions ORDER BY created_at")).all()
    assert [
        Play(
            session_id=row.id,
            game_type=row.game_type,
            player_address=row.player_address,
            amount_paid_usdc=row.amount_paid_usdc,
            created_at=row.created_at,
            completed_at=row.completed_at,
            score=row.score,
            game_duration_ms=row.game_duration_ms,
        )
        for row in rows
    ] == plays
    assert len({row.payment_tx_hash for row in rows}) == 300
    assert {row.status for row in rows if row.score is None} == {"active"}
    assert {row.status for row in rows if row.score is not None} == {"completed"}


def a_play(minute: int, score: int | None, *, player: str = "0xa") -> Play:
    created_at = MONDAY + timedelta(minutes=minute)
    return Play(
        session_id=uuid4(),
        game_type="pong",
        player_address=player,
        amount_paid_usdc=Decimal("0.000003"),
        created_at=created_at,
        completed_at=None if score is None else created_at + timedelta(seconds=30),
        score=score,
        game_duration_ms=None if score is None else 30_000,
    )


@pytest.mark.parametrize("at_once", [True, False])
def test_only_a_strictly_better_score_replaces_one(engine: Engine, at_once: bool) -> None:
    first, equal, better, worse = (a_play(minute, score) for minute, score in enumerate((10, 10, 11, 9)))
    platform = Platform(engine=engine, calendar=Calendar.of(UTC_ZONE))
    for expected, plays in ((first, [first, equal]), (better, [worse, better])):
        for part in [plays] if at_once else [[play] for play in plays]:
            platform.receive(started=part, completed=part)
        assert expected.score is not None
        assert expected.completed_at is not None
        bests = {board["0xa"] for board in found_boards(engine).values()}
        assert bests == {Best(expected.score, expected.completed_at, expected.session_id)}


def test_money_is_exact(engine: Engine) -> None:
    plays = [a_play(minute, None) for minute in range(7)]
    Platform(engine=engine, calendar=Calendar.of(UTC_ZONE)).receive(started=plays, completed=[])
    assert set(found_pools(engine).values()) == {(Decimal("0.000015"), 7)}  # 14.7 of the smallest unit there is


def test_a_play_across_midnight_pays_into_one_day_and_competes_in_the_next(engine: Engine) -> None:
    play = replace(a_play(0, 5), created_at=MONDAY - timedelta(seconds=10), completed_at=MONDAY)
    Platform(engine=engine, calendar=Calendar.of(UTC_ZONE)).receive(started=[play], completed=[play])
    assert {key.period_date for key in found_pools(engine)} == {date(2026, 1, 4), date(2025, 12, 29)}
    assert {key.period_date for key in found_boards(engine)} == {date(2026, 1, 5), date(1970, 1, 1)}


def test_a_score_without_a_session_is_refused_and_nothing_is_kept(engine: Engine) -> None:
    platform = Platform(engine=engine, calendar=Calendar.of(UTC_ZONE))
    with pytest.raises(PlatformError, match="1 completed plays have no active session"):
        platform.receive(started=[a_play(0, None)], completed=[a_play(1, 5)])
    assert found_pools(engine) == {}
    assert found_boards(engine) == {}


def test_entries_are_listed_board_by_board(engine: Engine) -> None:
    plays = [a_play(minute, 10 - minute, player=f"0x{minute}") for minute in range(4)]
    Platform(engine=engine, calendar=Calendar.of(UTC_ZONE)).receive(started=plays, completed=plays)
    with engine.begin() as connection:
        connection.execute(text("UPDATE leaderboard_entries SET rank = 11 - score"))
        entries = list_entries(connection)
        leaders = list_entries(connection, period_type=PeriodType.WEEKLY, most=2)
    for _, board in groupby(entries, key=lambda entry: entry.period):
        assert [entry.rank for entry in board] == [1, 2, 3, 4]
    assert len(entries) == 12
    assert [(entry.player_address, entry.rank) for entry in leaders] == [("0x0", 1), ("0x1", 2)]
