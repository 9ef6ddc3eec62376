"""A schema in which everything is wrong is refused at once, and the printed statements fix it in one round."""

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from infra import schema as migrations
from infra.local import postgres
from infra.schema import Kind, SchemaError
from tests.integration.conftest import PLATFORM
from tests.refusal import counts, fix, reasons, refused
from tests.sql import new_database, rows, run

# Everything that can be wrong, in one database: a line of DDL or DML, and what must be reported of it.
WRONG = {
    "ALTER TABLE prize_pools ALTER COLUMN total_amount_usdc TYPE double precision": (
        "prize_pools.total_amount_usdc is double precision; expected numeric(18,6)"
    ),
    "ALTER TABLE prize_pools ALTER COLUMN status DROP DEFAULT, ALTER COLUMN status TYPE varchar(20)": (
        "prize_pools.status is character varying(20); expected text"
    ),
    "ALTER TABLE prize_pools RENAME CONSTRAINT prize_pools_status_check TO other": "",
    "ALTER TABLE game_sessions ALTER COLUMN amount_paid_usdc TYPE real": (
        "game_sessions.amount_paid_usdc is real; expected numeric(18,6)"
    ),
    "ALTER TABLE game_sessions ALTER COLUMN created_at TYPE timestamp": (
        "game_sessions.created_at is timestamp without time zone; expected timestamptz"
    ),
    "ALTER TABLE game_sessions ALTER COLUMN completed_at TYPE text USING left(completed_at::text, 19)": (
        "game_sessions.completed_at is text; expected timestamptz"
    ),
    "ALTER TABLE game_sessions ALTER COLUMN score TYPE integer": ("game_sessions.score is integer; expected bigint"),
    "ALTER TABLE leaderboard_entries ALTER COLUMN period_date TYPE text": (
        "leaderboard_entries.period_date is text; expected date"
    ),
    "ALTER TABLE leaderboard_entries ALTER COLUMN session_id TYPE text": (
        "leaderboard_entries.session_id is text; expected uuid"
    ),
    "ALTER TABLE leaderboard_entries ALTER COLUMN rank SET DEFAULT 0": (
        "leaderboard_entries.rank is never null, by default 0; expected NULL at first"
    ),
    "UPDATE leaderboard_entries SET rank = 0 WHERE score > 15": ("leaderboard_entries.rank is not positive in 18 rows"),
    "UPDATE leaderboard_entries SET created_at = NULL WHERE score = 3": (
        "leaderboard_entries.created_at is NULL in 3 rows; the contract promises a value"
    ),
    "INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date) SELECT"
    " session_id, game_type, player_address, 1, period_type, period_date FROM leaderboard_entries WHERE score = 9": (
        "leaderboard_entries.leaderboard_entries_player_period_key is violated: 3 keys have several rows:"
        " UNIQUE (player_address, game_type, period_type, period_date)"
    ),
    "ALTER TABLE prize_pools ALTER created_at DROP NOT NULL; UPDATE prize_pools SET created_at = NULL WHERE id = 2": (
        "prize_pools.created_at is NULL in 1 row; the contract promises a value"
    ),
    "UPDATE prize_pools SET total_games = -1 WHERE id = 3": (
        "prize_pools.prize_pools_total_check is violated by 1 row: CHECK (((total_amount_usdc >= (0)::numeric)"
        " AND (total_amount_usdc <> 'NaN'::numeric) AND (total_games >= 0)))"
    ),
}


TAKES = "arcade_jobs_set_aside takes the rows that do not fit, whole; they can be put back"


def test_everything_wrong_is_reported_at_once_and_what_is_printed_fixes_it(platform: Engine) -> None:
    run(platform, *WRONG)
    refusal = refused(platform)
    assert sorted(map(str, refusal.differences)) == sorted([TAKES, *filter(None, WRONG.values())])
    assert str(refusal.differences[0]) == TAKES
    for difference in refusal.differences:
        assert difference.statements
        assert f"- {difference}\n    {difference.statements[0].splitlines()[0]}" in str(refusal)
    assert {str(d) for d in migrations.check(platform) if d.kind is Kind.REFUSED} == {TAKES, *WRONG.values()} - {""}
    fix(platform, refusal)
    migrations.upgrade(platform)
    assert {difference.kind for difference in migrations.check(platform)} == {Kind.WARNING}
    assert reasons(platform) == {
        "leaderboard_entries: created_at is NULL": 3,
        "leaderboard_entries: violates leaderboard_entries_player_period_key": 3,
        "prize_pools: created_at is NULL": 1,
        "prize_pools: violates prize_pools_total_check": 1,
    }
    assert rows(platform, "SELECT DISTINCT created_at AT TIME ZONE 'UTC' || '' FROM game_sessions") == [
        ("2026-01-05 10:00:00",)
    ]
    assert rows(platform, "SELECT DISTINCT completed_at AT TIME ZONE 'UTC' || '' FROM game_sessions") == [
        ("2026-01-05 10:10:00",)
    ]
    assert rows(platform, "SELECT count(*), max(score) FILTER (WHERE player_address = '0x9') FROM leaderboard_entries"
                          " WHERE period_type = 'daily'") == [(19, 9)]  # fmt: skip


def test_the_printed_text_fixes_it_without_edits(platform: Engine) -> None:
    run(platform, *WRONG)
    before = counts(platform)
    printed = str(refused(platform))
    run(platform, "\n".join(line[4:] for line in printed.splitlines() if line.startswith("    ")))
    assert counts(platform) == before
    migrations.upgrade(platform)
    assert counts(platform) == before
    assert {difference.kind for difference in migrations.check(platform)} == {Kind.WARNING}


@given(chosen=st.sets(st.sampled_from(list(WRONG)), min_size=2))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_no_row_is_lost_in_any_combination(server: postgres.Server, chosen: set[str]) -> None:
    lines = [line for line in WRONG if line in chosen]
    with new_database(server, "wrong") as engine:
        run(engine, PLATFORM, *lines)
        before = counts(engine)
        try:
            migrations.upgrade(engine)
        except SchemaError as refusal:
            fix(engine, refusal)
            migrations.upgrade(engine)
        assert counts(engine) == before
        assert {difference.kind for difference in migrations.check(engine)} <= {Kind.WARNING}
