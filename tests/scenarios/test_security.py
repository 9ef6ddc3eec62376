"""SQL is bound everywhere, and the text of an event reaches a log line as text only."""

import ast
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.app import App
from shared.domain.tick import MAX_TEXT, BadEventError, Tick
from tests.arcade import Arcade
from tests.fakes import FakeClock, FakeContext, scheduled_event
from tests.jobs import HANDLERS, StartApp, invoke

ROOT = Path(__file__).parents[2]
TAKES_SQL = {"text", "exec_driver_sql", "literal_column", "DDL", "from_statement", "TextClause"}
# Where a statement is put together. Those of infra are run by the operator's own machine, none of them by a function.
ALLOWED = {
    "infra/local/postgres.py": "constants, passed as an argument",
    "infra/schema/adoption.py": "settings that are constants; a schema's name, quoted",
    "infra/schema/catalog.py": "constants passed as an argument; frozen statements; names that the server quoted",
    "infra/schema/comparison.py": "a constant with a schema's name, quoted",
    "infra/schema/constraints.py": "a CHECK that is in the database, as the server prints it; columns quoted",
    "infra/schema/guarded.py": "no statement is run there; names of frozen statements, a role's name, quoted",
    "infra/schema/rows.py": "names from the catalog, quoted by the server",
    "infra/schema/session.py": "frozen statements; a schema's name, quoted; a number",
    "infra/schema/upgrade.py": "a schema's name, quoted",
    "shared/db/connection.py": "a number of milliseconds",
    "shared/db/leaderboard.py": "the ranking order, a constant",
    "shared/db/orphaned_entries.py": "the condition on a board, a constant",
    "shared/db/prize_pool.py": "the ranking order, a constant",
}
HOSTILE = [
    "'; DROP TABLE prize_pools; --",
    '"; DROP TABLE prize_pools; --',
    "%s %(x)s :x $1 %%",
    "$$ BEGIN RAISE 'x'; END $$",
    "line\nbreak\r\n\ttab",
    "\\'; SELECT 1; \\",
    "\u202e\u2028 0x \U0001f47e",
    "x" * MAX_TEXT,
]
FORGED = [
    'a"}\n{"level":"ERROR","message":"forged","run_id":"forged"}',
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "\r\nERROR forged",
    "\u2028forged\u2029\x85\x0b\x0c\x1c\x1d\x1e",
    '","_aws":{"CloudWatchMetrics":[]},"x":"',
    "\x00\x7f\x9b31m",
    "{{run_id}} %s {0} ${jndi:ldap://x}",
]


def made_at_run_time(source: str) -> Iterator[str]:
    """What is given as SQL and is no literal text, nor a name of the module for one."""
    tree = ast.parse(source)
    literals = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = node.args[0]
            is_literal = isinstance(given, ast.Constant) or (isinstance(given, ast.Name) and given.id in literals)
            is_text = isinstance(given, ast.JoinedStr | ast.BinOp) and name in {"execute", "scalar", "scalars"}
            if is_text or (name in TAKES_SQL and not is_literal):
                yield f"{name}({ast.get_source_segment(source, given)})"


def test_security_no_statement_is_built_at_run_time_but_where_there_is_a_reason() -> None:
    folders = ("functions", "infra/demo", "infra/deployed", "infra/local", "infra/schema", "shared")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    found = {path.relative_to(ROOT).as_posix() for path in files if list(made_at_run_time(path.read_text("utf-8")))}
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "statement",
    [
        'c.execute(text(f"SELECT {x}"))',
        'text("SELECT %s" % x)',
        'text("SELECT " + x)',
        'text("SELECT {}".format(x))',
        "c.exec_driver_sql(x)",
        'c.execute(f"SELECT {x}")',
        "X = make()\ntext(X)",
        "select(literal_column(name))",
    ],
)
def test_security_a_statement_that_is_built_at_run_time_is_found(statement: str) -> None:
    assert len(list(made_at_run_time(statement))) == 1


def test_security_a_literal_statement_is_none() -> None:
    assert list(made_at_run_time('X = "SELECT 1"\ntext(X)\ntext("SELECT :a")\nc.execute(X, {"a": a})')) == []


@pytest.fixture
def app(start_app: StartApp, clock: FakeClock) -> App:
    clock.now = clock.now.replace(hour=4)
    return start_app()


def test_security_hostile_players_and_reasons_are_nothing_but_text(arcade: Arcade, app: App, clock: FakeClock) -> None:
    """Winners, forged entries and abandoned sessions of those names, through all three jobs, for those reasons."""
    pools = {}
    for day, hostile in enumerate(HOSTILE, start=1):
        at = f"2026-01-{day:02}T10:00:00Z"
        pools[arcade.add_pool(at[:10], amount="0.7")] = hostile
        arcade.play(hostile, 9, at)
        arcade.play("0xloser", 5, at)
        arcade.add_unchecked_entry(arcade.add_session(at, player=f"{hostile}!"), 99, at, player=f"{hostile}!")
    for day, hostile in enumerate(HOSTILE, start=13):
        event = {"time": f"2026-01-{day:02}T03:30:00Z", "actor": hostile, "reason": hostile}
        clock.now = datetime.fromisoformat(event["time"])
        results = [invoke(app, job, event) for job in HANDLERS]
        assert [result["status"] for result in results] == ["succeeded"] * 3
        for result in results:
            stored = app.runner.store.get(result["run_id"])
            assert stored is not None
            assert (stored.actor, stored.reason) == (result["actor"], result["reason"]) == (hostile, hostile)
    assert {pool_id: arcade.pool(pool_id).winner_address for pool_id in pools} == pools
    assert {arcade.pool(pool_id).total_amount_usdc for pool_id in pools} == {Decimal("0.7")}
    with arcade.engine.connect() as connection:
        left = set(connection.scalars(text("SELECT player_address FROM game_sessions")))
    assert left == {*HOSTILE, "0xloser"}


def test_security_a_hostile_game_type_is_refused_by_the_database(arcade: Arcade) -> None:
    for hostile in HOSTILE[:-1]:
        with pytest.raises(DBAPIError, match="prize_pools_game_type_check"):
            arcade.add_pool("2026-01-11", game=hostile)


def lines_of(out: str) -> list[dict[str, Any]]:
    """Each line of a log: printable ASCII only, of which no reader takes anything for a line's end or a command."""
    assert all(char == "\n" or char.isprintable() for char in out), [char for char in out if not char.isprintable()]
    assert out.isascii()
    return [json.loads(line) for line in out.removesuffix("\n").split("\n")]


@pytest.mark.parametrize("job", HANDLERS)
def test_security_the_text_of_an_event_stays_inside_its_own_log_line(
    app: App, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    for number, forged in enumerate(FORGED):
        invoke(app, job, {"actor": forged, "reason": forged}, FakeContext(aws_request_id=f"r{number}"))
        found = lines_of(capsys.readouterr().out)
        assert len(found) == 4  # the start, the success, the counts and the result
        assert {line["run_id"] for line in found} == {f"{job}:r{number}"}
        [_, logged] = [line for line in found if "_aws" not in line]
        assert (logged["level"], logged["message"]) == ("INFO", "run succeeded")
        assert (logged["run"]["actor"], logged["run"]["reason"]) == (forged, forged)


@pytest.mark.parametrize(
    "event",
    [
        lambda forged: {"time": forged},
        lambda forged: {"trigger": forged},
        lambda forged: {"dry_run": forged},
        lambda forged: {forged: 1},
        lambda forged: forged,
        lambda forged: {"actor": [forged]},
        scheduled_event,
        lambda forged: scheduled_event("2026-01-12T00:00:00Z") | {"dry_run": forged},
    ],
    ids=["time", "trigger", "dry_run", "key", "event", "actor", "scheduled", "scheduled dry_run"],
)
def test_security_a_refusal_shows_what_it_refuses_on_one_line_and_escaped(
    event: Any,
) -> None:
    """The platform writes the error's text into the log, as it is."""
    for forged in FORGED:
        with pytest.raises(BadEventError) as refused:
            Tick.from_event(event(forged), now=datetime(2026, 1, 12, tzinfo=UTC), request_id=forged)
        assert str(refused.value).isprintable()
        assert str(refused.value).isascii()


def test_security_a_database_error_cannot_break_out_of_its_line_either(
    arcade: Arcade, app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trigger's message with a player's text in it, as a platform might write one."""
    pool_id = arcade.add_pool("2026-01-11")
    arcade.play(FORGED[0] + FORGED[1], 9, "2026-01-11T10:00:00Z")
    with arcade.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'no prize for %', NEW.winner_address; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE UPDATE ON prize_pools FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    result = invoke(app, "prize-pool", {})
    assert result["status"] == "partial"
    assert arcade.pool(pool_id).status == "active"
    lines_of(capsys.readouterr().out)
    [error] = result["result"]["errors"]
    assert error["error"].isprintable()
