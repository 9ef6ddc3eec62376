"""A platform as a Node server keeps it is adopted in one round, by what is printed, in its order, and nothing else."""

import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from infra import schema as migrations
from infra.cli.app import main
from infra.jobs import JOBS
from infra.local import postgres
from infra.schema import Kind, SchemaError
from infra.schema.script import script
from shared.app import App
from shared.db.errors import sqlstate
from tests.jobs import invoke
from tests.node_platform import FAULTS, ROWS, SCHEMA
from tests.refusal import counts, fix, reasons, refused
from tests.sql import new_database, rows, run, split

ORPHANS = (
    "SELECT count(*) FROM leaderboard_entries"
    " WHERE NOT EXISTS (SELECT FROM game_sessions AS s WHERE s.id::text = lower(leaderboard_entries.session_id::text))"
)
ACTIVE = "SELECT id FROM prize_pools WHERE status = 'active'"
ACTIVE_SESSIONS = "SELECT lower(id::text) FROM game_sessions WHERE status = 'active'"


@pytest.fixture(scope="module")
def node(server: postgres.Server) -> Iterator[str]:
    """The name of a database in which the platform has nothing wrong but its types."""
    with new_database(server, "node") as engine:
        run(engine, SCHEMA, *ROWS.strip().split(";\n"))
        engine.dispose()
        yield str(engine.url.database)


@pytest.fixture
def engine(server: postgres.Server, node: str) -> Iterator[Engine]:
    """A database with every fault."""
    with new_database(server, "faults", template=node) as engine:
        run(engine, *FAULTS.values())
        yield engine


@pytest.fixture
def command(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`arcade-jobs db`: exit code, standard output, standard error."""
    monkeypatch.setenv("DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["arcade-jobs", "db", *arguments])
        with pytest.raises(SystemExit) as exited:
            main()
        printed = capsys.readouterr()
        return int(exited.value.code or 0), printed.out, printed.err

    return call


def test_the_script_that_check_prints_adopts_it_in_one_round(
    engine: Engine, command: Callable[..., tuple[int, str, str]], app: App
) -> None:
    before, active, active_sessions = counts(engine), rows(engine, ACTIVE), rows(engine, ACTIVE_SESSIONS)
    code, printed, notes = command("check", "--sql")
    assert (code, notes.splitlines()[-1]) == (1, "to read, then to run: psql -v ON_ERROR_STOP=1 -f FILE")
    run(engine, *split(printed))
    assert counts(engine) == before
    assert command("upgrade")[0] == 0
    assert command("check", "--sql")[:2] == (0, "")
    assert counts(engine) == before
    assert {difference.kind for difference in migrations.check(engine)} == {Kind.WARNING}
    assert rows(engine, ORPHANS) == [(0,)]
    assert set(rows(engine, ACTIVE)) <= set(active)
    assert set(rows(engine, ACTIVE_SESSIONS)) <= set(active_sessions)
    assert reasons(engine) == {
        "game_sessions: amount_paid_usdc is NULL": 1,
        "game_sessions: completed_at cannot be converted to timestamptz": 2,
        "game_sessions: id cannot be converted to uuid": 1,
        "game_sessions: violates arcade_jobs_instants_check": 2,
        "game_sessions: violates game_sessions_amount_paid_usdc_check": 1,
        "game_sessions: violates game_sessions_completed_check": 2,
        "game_sessions: violates game_sessions_payment_tx_hash_key": 1,
        "game_sessions: violates game_sessions_status_check": 12,
        "leaderboard_entries: created_at is NULL": 3,
        "leaderboard_entries: its session is set aside": 36,
        "leaderboard_entries: period_date cannot be converted to date": 1,
        "leaderboard_entries: session_id cannot be converted to uuid": 3,
        "leaderboard_entries: violates leaderboard_entries_period_date_check": 1,
        "leaderboard_entries: violates leaderboard_entries_player_period_key": 6,
        "prize_pools: period_date cannot be converted to date": 3,
        "prize_pools: total_amount_usdc is NULL": 3,
        "prize_pools: violates prize_pools_period_date_check": 1,
        "prize_pools: violates prize_pools_period_key": 6,
        "prize_pools: violates prize_pools_settled_check": 3,
        "prize_pools: violates prize_pools_status_check": 6,
    }
    # The jobs run on it, and the triggers refuse what they should.
    results = {job.name: invoke(app, job.name, {}) for job in JOBS}
    assert [(result["status"], result["result"]["errors"]) for result in results.values()] == [("succeeded", [])] * 3
    # Of the week that is over, without the two best, whose sessions are set aside.
    finalized = results["prize-pool"]["result"]["finalized_pools"]
    assert [(pool["period_date"], pool["winner_score"]) for pool in finalized] == [
        ("2026-01-05", 69),
        ("2026-01-05", 68),
        ("2026-01-05", 67),
    ]
    assert results["cleanup"]["result"]["orphaned_entries_deleted"] == 0
    assert rows(engine, "SELECT count(*) FROM leaderboard_entries WHERE rank IS NULL") == [(0,)]
    for refusal, statement in {
        "AJ001": "UPDATE prize_pools SET total_games = 0 WHERE status <> 'active'",
        "AJ002": "UPDATE leaderboard_entries SET score = 100000",
    }.items():
        with pytest.raises(DBAPIError) as error:
            run(engine, statement)
        assert sqlstate(error.value) == refusal


def test_a_column_under_another_name_is_to_be_renamed_before_its_rows_are_set_aside(server: postgres.Server) -> None:
    with new_database(server, "camel") as engine:
        run(engine, SCHEMA, 'ALTER TABLE game_sessions RENAME completed_at TO "completedAt"')
        run(
            engine,
            "INSERT INTO game_sessions (id, game_type, player_address, status)"
            " VALUES (gen_random_uuid(), 'snake', '0x1', 'completed')",
        )
        notes = {difference.where: difference.note for difference in refused(engine).differences}
        assert notes["game_sessions.completed_at"] == "or rename the column that has it"


def test_a_schema_may_have_any_name(engine: Engine) -> None:
    name = 'it\'s 100%s :x «theirs» ""!'
    run(engine, f'ALTER SCHEMA public RENAME TO "{name}"')
    run(engine, f'ALTER DATABASE "{engine.url.database}" SET search_path = "{name}"')
    engine.dispose()
    fix(engine, refused(engine))
    migrations.upgrade(engine)
    assert {difference.kind for difference in migrations.check(engine)} == {Kind.WARNING}


def test_the_lines_that_put_rows_back_do_so_once_what_is_wrong_is_corrected(engine: Engine) -> None:
    fix(engine, refused(engine))
    migrations.upgrade(engine)
    before = counts(engine)
    put_back = {difference.what: difference.statements for difference in migrations.check(engine)}
    status = "UPDATE arcade_jobs_set_aside SET content = jsonb_set(content, '{status}', '\"completed\"') WHERE "
    disputed = "content->>'status' = 'disputed'"
    run(engine, f"{status}{disputed}", "DELETE FROM arcade_jobs_set_aside WHERE content->>'status' = 'abandoned'")
    run(engine, *put_back["has 12 rows of game_sessions: violates game_sessions_status_check"])
    assert rows(engine, "SELECT count(*) FROM game_sessions WHERE player_address IN ('0x50', '0x51')") == [(2,)]
    assert counts(engine) == {**before, "game_sessions": before["game_sessions"] - 10}
    # Its entries fit as they are: their session was all that was wrong. The daily board is settled.
    others = "content->>'player_address' <> '0x50' OR content->>'period_type' = 'daily'"
    run(engine, f"DELETE FROM arcade_jobs_set_aside WHERE reason = 'its session is set aside' AND ({others})")
    run(engine, *put_back["has 36 rows of leaderboard_entries: its session is set aside"])
    returned = "SELECT period_type, game_type, rank FROM leaderboard_entries WHERE player_address = '0x50' ORDER BY 1"
    assert rows(engine, returned) == [("alltime", "space_invaders", None), ("weekly", "space_invaders", None)]


@given(chosen=st.sets(st.sampled_from(list(FAULTS)), max_size=8))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_any_of_its_faults_end_in_one_round(server: postgres.Server, node: str, chosen: set[str]) -> None:
    with new_database(server, "faults", template=node) as engine:
        run(engine, *(statements for fault, statements in FAULTS.items() if fault in chosen))
        before, active = counts(engine), rows(engine, ACTIVE)
        try:
            migrations.upgrade(engine)
        except SchemaError as refusal:
            run(engine, *split("\n".join(script("public", refusal.differences))))
            migrations.upgrade(engine)
        assert counts(engine) == before
        assert {difference.kind for difference in migrations.check(engine)} <= {Kind.WARNING}
        assert rows(engine, ORPHANS) == [(0,)]
        assert set(rows(engine, ACTIVE)) <= set(active)
