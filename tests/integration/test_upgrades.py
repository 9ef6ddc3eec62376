"""A database of the first revision, or of the second, with rows, is brought to the last one by both ways."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from infra import schema as migrations
from infra.schema import Kind, data_api, revisions, unbacked
from infra.schema.data_api import DataApi
from tests.integration.upgraded import assert_upgraded, contents
from tests.sql import rows, run

from_each = pytest.mark.parametrize("first", ["0001", "0002"], indirect=True)


@from_each
def test_an_upgrade_over_a_connection_keeps_every_row(first: Engine) -> None:
    before = contents(first)
    migrations.upgrade(first)
    assert_upgraded(first, before)
    states = "leaderboards, leaderboard_touches"
    for state in states.split(", "):
        assert rows(first, f"SELECT count(*) FROM {state} WHERE period_date = 'infinity'") == [(0,)]


@from_each
def test_an_upgrade_through_the_data_api_keeps_every_row(first: Engine, api: Callable[[], DataApi]) -> None:
    before = contents(first)
    data_api.upgrade(api())
    assert_upgraded(first, before)
    assert {str(d) for d in data_api.check(api())} == {str(d) for d in migrations.check(first)}
    assert [d.fix for d in data_api.check(api())] == [d.fix for d in migrations.check(first)]


def test_check_names_what_is_behind_and_compares_with_what_was_done(first: Engine) -> None:
    behind = f"arcade_jobs_version is 0001; {revisions.head()} is this version's"
    assert [str(difference) for difference in migrations.check(first)] == [behind, *TO_BE_REFUSED["0001"]]
    run(first, "DROP INDEX prize_pools_settled_by_idx")
    assert [str(difference) for difference in migrations.check(first)] == [
        behind,
        "prize_pools.prize_pools_settled_by_idx is missing",
        *TO_BE_REFUSED["0001"],
    ]


REFUSED = (
    "a completed session of the same player, game and score: such an entry is refused (AJ002) from revision 0003 on"
)
CORRECTED = "another created_at than their session's completed_at: it is corrected from revision 0003 on"
# At the second revision the sessions of two players are set aside.
TO_BE_REFUSED = {
    "0001": [
        f"leaderboard_entries has 1 of the last 61 rows without {REFUSED}",
        f"leaderboard_entries has 4 of the last 61 rows with {CORRECTED}",
    ],
    "0002": [f"leaderboard_entries has 7 of the last 58 rows without {REFUSED}"],
}


@from_each
@pytest.mark.parametrize("way", ["a connection", "the Data API"])
def test_s23_what_will_be_refused_is_counted_before_it_is(
    first: Engine, api: Callable[[], DataApi], way: str, request: pytest.FixtureRequest
) -> None:
    lines: list[str] = []
    counted = TO_BE_REFUSED[request.node.callspec.params["first"]]
    for check in (migrations.check(first), data_api.check(api())):
        assert [str(found) for found in check if found.where == "leaderboard_entries"] == counted
        assert {found.kind for found in check if found.where == "leaderboard_entries"} == {Kind.WARNING}
    for _ in range(2):  # once it is added, nothing more is counted
        if way == "the Data API":
            data_api.upgrade(replace(api(), report=lines.append))
        else:
            migrations.upgrade(first, report=lines.append)
    warned = [line for line in lines if "warning: leaderboard_entries" in line]
    assert [line.partition("warning: ")[2] for line in warned] == counted
    place = next(place for place, line in enumerate(lines) if "revision 000" in line and "from statement" in line)
    assert lines.index(warned[-1]) < place
    assert not [found for found in migrations.check(first) if found.where == "leaderboard_entries"]


def test_s23_the_entries_that_were_written_last_are_counted_each_with_its_session_by_key(first: Engine) -> None:
    with first.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")  # so few rows are read whole otherwise
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {unbacked.counts('public')}").scalars())
    assert "Limit" in plan
    assert "Index Scan Backward using leaderboard_entries_pkey" in plan
    assert "Index Scan using game_sessions_pkey" in plan


@pytest.mark.parametrize("way", ["a connection", "the Data API"])
def test_a_settled_pool_without_a_calendar_date_stops_it_in_one_line(
    first: Engine, api: Callable[[], DataApi], way: str
) -> None:
    run(first, "UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE period_date = '10000-01-03'")
    before = contents(first)
    named = r"[^\n]*prize pool 3 \(tetris, weekly 10000-01-03\) is finalized: it cannot be deleted[^\n]*"
    for _ in range(2):
        with pytest.raises(migrations.UpgradeError, match=f"^{named}$"):
            data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
        assert contents(first) == before
    assert rows(first, "SELECT version_num FROM arcade_jobs_version") == [("0001+2",)]
    assert str(migrations.check(first)[0]) == f"arcade_jobs_version is 0001+2; {revisions.head()} is this version's"
    with first.begin() as connection, connection.begin_nested() as payment:  # it can still be paid meanwhile
        pay = "UPDATE prize_pools SET status = 'paid', payout_tx_hash = '0x1' WHERE id = 3"
        assert connection.exec_driver_sql(pay).rowcount == 1
        payment.rollback()
    run(first, "ALTER TABLE prize_pools DISABLE TRIGGER arcade_jobs_seal_delete")
    data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
    enabled = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'arcade_jobs_seal_delete'"
    assert rows(first, enabled) == [("O",)]
    assert_upgraded(first, before)


def test_what_was_lost_since_the_first_is_restored_before_a_later_one_needs_it(first: Engine) -> None:
    before = contents(first)
    run(first, "DROP TABLE leaderboard_touches", "DROP TABLE leaderboards")
    migrations.upgrade(first)
    assert_upgraded(first, before)


@pytest.mark.parametrize("way", ["a connection", "the Data API"])
def test_rows_that_others_would_go_with_stop_it_in_one_line(
    first: Engine, api: Callable[[], DataApi], way: str
) -> None:
    run(
        first,
        "CREATE TABLE refunds (session_id uuid CONSTRAINT of_session REFERENCES game_sessions ON DELETE CASCADE)",
        "INSERT INTO refunds SELECT id FROM game_sessions",
    )
    before = contents(first)
    with pytest.raises(
        migrations.UpgradeError,
        match=r"^[^\n]*2 rows of public.game_sessions [^\n]*: drop refunds.of_session first[^\n]*$",
    ):
        data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
    assert contents(first) == before
    assert rows(first, "SELECT count(*) FROM refunds") == [(20,)]
    run(first, "ALTER TABLE refunds DROP CONSTRAINT of_session")
    data_api.upgrade(api()) if way == "the Data API" else migrations.upgrade(first)
    assert rows(first, "SELECT count(*) FROM refunds") == [(20,)]
    assert_upgraded(first, before)


def test_a_name_that_is_taken_stops_it_in_one_line(first: Engine) -> None:
    run(first, "CREATE TABLE arcade_jobs_settled_by_idx (x int)")
    with pytest.raises(migrations.UpgradeError, match=r"^public.arcade_jobs_settled_by_idx is there and is no index"):
        migrations.upgrade(first)
    run(first, "ALTER TABLE arcade_jobs_settled_by_idx RENAME TO mine")
    migrations.upgrade(first)
    assert rows(first, "SELECT count(*) FROM mine") == [(0,)]
