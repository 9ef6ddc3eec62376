"""The revisions: frozen files, and what they create."""

import hashlib
import subprocess

import pytest
from sqlalchemy import Engine

from infra.local import cluster
from infra.schema import catalog, revisions, tables
from infra.schema.revisions import NOTHING, steps_after
from tests.arcade import Arcade
from tests.sql import run

# A revision is never edited: what it created is in databases already. Write another one.
SHA256 = {
    "0001_contract.sql": "362e911c0001ee8b40f7c802b8409da4f520972231757b183f14706a8026a741",
    "0002_dates.sql": "8825f24782a6334c60f5ed16eb555af8baa716326d64d3e21ffae7a30f688f9b",
    "0003_entries.sql": "6336110f5d61786d52c6bed9c809f33b08ea4ff672e980d9a3aa9ba8e54f5737",
    "0004_writes.sql": "8925e9dca1e92d9ce5aae3d9627f7be85134934148a2f208cf2cac95abcb9c73",
}


def test_a_revision_is_never_edited() -> None:
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in revisions.FOLDER.glob("*.sql")}
    assert files == SHA256


def test_each_statement_is_of_a_form_that_can_be_repeated_or_recorded() -> None:
    for step in steps_after(NOTHING, "public"):
        assert ("CONCURRENTLY" in step.statement) == (step.concurrent_index is not None), step
        assert not step.statement.startswith(("BEGIN", "COMMIT", "SET ")), step
        assert len(step.after) <= 32
    numbers = [revision.number for revision in revisions.revisions()]
    assert numbers == [f"{place:04}" for place in range(1, len(numbers) + 1)]


def read_catalog(engine: Engine) -> catalog.Catalog:
    with engine.connect() as connection:
        return catalog.read(connection, "public", revisions.statements_until(revisions.head(), "public"))


def test_the_tables_are_what_the_revisions_create(empty: Engine, engine: Engine) -> None:
    tables.metadata.create_all(empty)
    described, made = read_catalog(empty), read_catalog(engine)
    assert described.tables.keys() == made.tables.keys() == tables.metadata.tables.keys()
    for name, table in made.tables.items():
        for part in ("columns", "constraints", "indexes", "options", "comment"):
            assert getattr(described.tables[name], part) == getattr(table, part), (name, part)


def test_psql_creates_the_same_from_the_files(empty: Engine, engine: Engine) -> None:
    files = [f"--file={path}" for path in sorted(revisions.FOLDER.glob("*.sql"))]
    psql = cluster.binaries() / "psql"
    socket = str(empty.url.query["unix_sock"]).rpartition("/")[0]
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=schema=public"]
    target = [f"--host={socket}", "--username=postgres", f"--dbname={empty.url.database}"]
    subprocess.run([psql, *options, *target, *files], check=True, capture_output=True)
    run(engine, "DELETE FROM arcade_jobs_timezones")  # the one row that an upgrade adds
    made, upgraded = read_catalog(empty), read_catalog(engine)
    assert (made.tables, made.functions) == (upgraded.tables, upgraded.functions)


def test_what_is_written_from_now_on_has_a_calendar_date(engine: Engine, arcade: Arcade) -> None:
    arcade.add_session("2026-01-05T12:00Z", player="0x1", score=1, completed_at="2026-01-05T12:01Z")
    entry = (
        "INSERT INTO leaderboard_entries (session_id, game_type, player_address, score, period_type, period_date)"
        " VALUES ((SELECT id FROM game_sessions), 'pong', '0x1', 1, "
    )
    game = "INSERT INTO game_sessions (id, game_type, player_address, amount_paid_usdc, created_at, completed_at)"
    for statement in (
        "INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'daily', 'infinity')",
        "INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'daily', '1969-12-31')",
        "INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'weekly', '10000-01-03')",
        entry + "'daily', '0044-03-15 BC')",
        game + " VALUES (gen_random_uuid(), 'pong', '0x1', 1, '0001-01-01Z', NULL)",
        game + " VALUES (gen_random_uuid(), 'pong', '0x1', 1, now(), '10000-01-01Z')",
    ):
        with pytest.raises(Exception, match="23514"):
            run(engine, statement)
    for day in ("1970-01-01", "9999-12-31"):
        run(engine, f"INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'daily', '{day}')")
        run(engine, game + f" VALUES (gen_random_uuid(), 'pong', '0x1', 1, '{day}Z', '{day}Z')")
