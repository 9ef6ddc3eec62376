"""S32: a role that may write to pools, and does not run the jobs, finalizes one, with any winner."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from infra import schema as migrations
from infra.schema import roles
from shared.db.errors import sqlstate
from tests.arcade import Arcade
from tests.sql import rows, run

KEY = "game_type, period_type, period_date"
FINALIZE = (
    "UPDATE prize_pools SET status = 'finalized', winner_address = '0xme', winner_score = 1, finalized_at = now()",
    f"INSERT INTO prize_pools ({KEY}, status, finalized_at) VALUES ('pong', 'daily', '2026-01-10', 'finalized', now())",
    f"""INSERT INTO prize_pools ({KEY}) VALUES ('pong', 'daily', '2026-01-11')
    ON CONFLICT ({KEY}) DO UPDATE SET status = 'finalized', finalized_at = now()""",
)
MakeRole = Callable[[], str]


@pytest.fixture
def make_role(engine: Engine) -> Iterator[MakeRole]:
    """Makes roles with every right on every table, as many platforms have them."""
    made: list[str] = []

    def make() -> str:
        made.append(f"role_{uuid4().hex[:12]}")
        run(engine, f"CREATE ROLE {made[-1]}", f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {made[-1]}")
        run(engine, f"GRANT ALL ON SCHEMA public TO {made[-1]}")
        return made[-1]

    yield make
    for role in made:
        run(engine, f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.fixture
def pool_id(arcade: Arcade) -> int:
    return arcade.add_pool("2026-01-11")


def write_as(engine: Engine, role: str, *statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_s32_a_role_with_every_right_on_the_tables_is_refused(
    engine: Engine, make_role: MakeRole, pool_id: int
) -> None:
    platform = make_role()
    for statement in FINALIZE:
        named = rf"\(pong, daily 2026-01-1\d\) is [a-z]+: role {platform} may not finalize it; arcade-jobs db upgrade"
        with pytest.raises(DBAPIError, match=named) as refused:
            write_as(engine, platform, statement)
        assert sqlstate(refused.value) == "AJ001"
    assert rows(engine, "SELECT id, status FROM prize_pools") == [(pool_id, "active")]


@pytest.mark.usefixtures("pool_id")
@pytest.mark.parametrize("statement", FINALIZE)
def test_s32_the_role_that_runs_the_jobs_does_and_so_does_the_owner(
    engine: Engine, make_role: MakeRole, statement: str
) -> None:
    jobs, owner = make_role(), make_role()
    roles.grant(engine, jobs)
    names = rows(engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    run(engine, *(f"ALTER TABLE {name} OWNER TO {owner}" for (name,) in names))
    functions = rows(engine, "SELECT proname FROM pg_proc WHERE proname ~ '^arcade_jobs_'")
    run(engine, *(f"ALTER FUNCTION {name}() OWNER TO {owner}" for (name,) in functions))
    for role in (jobs, owner):
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            assert connection.exec_driver_sql(statement).rowcount == 1
            connection.rollback()


CHANGED = {
    "active": ("total_games = total_games + 1", "NEW.status = 'finalized'; NEW.finalized_at = now()"),
    "finalized": ("status = 'paid', payout_tx_hash = '0x1'", "NEW.total_amount_usdc = 99"),
}


@pytest.mark.parametrize("status", CHANGED)
def test_s32_what_another_trigger_makes_of_a_pool_is_refused_too(
    engine: Engine, arcade: Arcade, make_role: MakeRole, pool_id: int, status: str
) -> None:
    """PostgreSQL fires triggers by name: this one comes after the seal's."""
    if status == "finalized":
        arcade.execute("UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE id = :id", id=pool_id)
    change, body = CHANGED[status]
    platform = make_role()
    write_as(
        engine,
        platform,
        f"""CREATE FUNCTION public.totals() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN {body}; RETURN NEW; END $$""",
        "CREATE TRIGGER totals BEFORE UPDATE ON prize_pools FOR EACH ROW EXECUTE FUNCTION public.totals()",
    )
    before = arcade.pool(pool_id)
    with pytest.raises(DBAPIError) as refused:
        write_as(engine, platform, f"UPDATE prize_pools SET {change}")
    assert sqlstate(refused.value) == "AJ001"
    assert arcade.pool(pool_id) == before


def test_s32_what_another_trigger_makes_of_a_new_pool_is_refused_too(engine: Engine, make_role: MakeRole) -> None:
    platform = make_role()
    write_as(
        engine,
        platform,
        """CREATE FUNCTION public.totals() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN NEW.status = 'finalized'; NEW.finalized_at = now(); RETURN NEW; END $$""",
        "CREATE TRIGGER totals BEFORE INSERT ON prize_pools FOR EACH ROW EXECUTE FUNCTION public.totals()",
    )
    with pytest.raises(DBAPIError) as refused:
        write_as(engine, platform, f"INSERT INTO prize_pools ({KEY}) VALUES ('pong', 'daily', '2026-01-11')")
    assert sqlstate(refused.value) == "AJ001"
    assert rows(engine, "SELECT * FROM prize_pools") == []


def test_s32_any_role_opens_pools_pays_into_them_and_pays_them_out(
    engine: Engine, arcade: Arcade, make_role: MakeRole, pool_id: int
) -> None:
    platform = make_role()
    write_as(
        engine,
        platform,
        "INSERT INTO prize_pools (game_type, period_type, period_date) VALUES ('pong', 'daily', '2026-01-12')",
        "UPDATE prize_pools SET total_amount_usdc = total_amount_usdc + 1, total_games = total_games + 1",
    )
    arcade.execute("UPDATE prize_pools SET status = 'finalized', finalized_at = now() WHERE id = :id", id=pool_id)
    write_as(engine, platform, f"UPDATE prize_pools SET status = 'paid', payout_tx_hash = '0x1' WHERE id = {pool_id}")
    assert arcade.pool(pool_id).status == "paid"


@pytest.mark.usefixtures("pool_id")
def test_s32_a_role_that_ran_the_jobs_before_is_named_with_all_that_it_lacks(
    engine: Engine, make_role: MakeRole
) -> None:
    jobs = make_role()
    new = ("timezones", "deleted_sessions", "orphans", "sweep")  # tables of revision 0003
    run(engine, *(f"REVOKE ALL ON arcade_jobs_{name} FROM {jobs}" for name in new))
    [found] = roles.check(engine)
    assert found == migrations.Difference(
        kind=migrations.Kind.WARNING,
        where=f"role {jobs}",
        what="may write ranks, and lacks what the jobs need since revision 0003",
        statements=tuple(roles.grant_statements(jobs)),
        note=f"or arcade-jobs db upgrade --jobs-role {jobs}, which does the same",
    )
    assert migrations.check(engine) == [found]
    run(engine, f"GRANT EXECUTE ON FUNCTION arcade_jobs_may_settle() TO {jobs}")
    assert migrations.check(engine) == [found]
    run(engine, *found.statements)
    write_as(engine, jobs, *(f"SELECT FROM arcade_jobs_{name}" for name in new), FINALIZE[0])
    assert migrations.check(engine) == []


def test_s32_the_right_is_nobodys_after_it_was_lost_and_restored(engine: Engine, make_role: MakeRole) -> None:
    platform = make_role()
    run(engine, "DROP FUNCTION arcade_jobs_may_settle()")
    migrations.upgrade(engine)
    assert [found.where for found in migrations.check(engine)] == [f"role {platform}"]


def test_s32_a_second_role_with_the_right_is_named(engine: Engine, make_role: MakeRole) -> None:
    """As by GRANT ALL ON ALL FUNCTIONS, or by default privileges that each new function gives a role."""
    jobs, platform = sorted((make_role(), make_role()))
    right = "FUNCTION public.arcade_jobs_may_settle()"
    run(engine, f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO {jobs}")
    run(engine, f"REVOKE UPDATE ON leaderboards FROM {platform}")
    assert migrations.check(engine) == []
    run(engine, f"GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO {platform}")
    [found] = migrations.check(engine)
    assert (found.kind, found.where) == (migrations.Kind.WARNING, f"roles {jobs}, {platform}")
    assert found.what == "may all finalize pools, with any winner; take the right from those that do not run the jobs"
    assert found.statements == (f"REVOKE ALL ON {right} FROM {jobs}", f"REVOKE ALL ON {right} FROM {platform}")
    run(engine, found.statements[1])
    assert migrations.check(engine) == []
