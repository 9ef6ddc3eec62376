"""An upgrade that is refused: nothing has changed, and the printed statements lose no row."""

import pytest
from sqlalchemy import Engine

from infra import schema as migrations
from infra.schema import SchemaError
from tests.sql import contents, rows, run


def picture(engine: Engine) -> list[str]:
    """Everything that an upgrade might change: the catalog outside the system's schemas, and all rows."""
    ours = "(SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$')"
    tables = f"(SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace IN {ours})"
    catalog = [
        f"SELECT relname, relkind, reloptions FROM pg_class WHERE relnamespace IN {ours} ORDER BY 1",
        f"SELECT attrelid, attname, atttypid, atttypmod, attnotnull FROM pg_attribute WHERE attrelid IN {tables}",
        f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace IN {ours} ORDER BY 1, 2",
        "SELECT tgname FROM pg_trigger ORDER BY 1",
        f"SELECT proname FROM pg_proc WHERE pronamespace IN {ours} ORDER BY 1",
    ]
    names = rows(engine, f"SELECT oid::regclass::text FROM pg_class WHERE oid IN {tables}")
    return [
        *(repr(rows(engine, query)) for query in catalog),
        *(repr(contents(engine, table)) for (table,) in sorted(names)),
    ]


def refused(engine: Engine) -> SchemaError:
    """Upgrade, expect a refusal, and see that nothing changed."""
    before = picture(engine)
    with pytest.raises(SchemaError) as refusal:
        migrations.upgrade(engine)
    assert picture(engine) == before
    return refusal.value


TABLES = ("game_sessions", "leaderboard_entries", "prize_pools")


def counts(engine: Engine) -> dict[str, int]:
    """The rows of each table of the platform's, those that are set aside included."""
    there = dict.fromkeys(TABLES, 0)
    for (table,) in rows(engine, "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p')"):
        if table in there:
            there[table] = rows(engine, f"SELECT count(*) FROM {table}")[0][0]
    if rows(engine, "SELECT to_regclass('arcade_jobs_set_aside') IS NOT NULL") == [(True,)]:
        for table in TABLES:
            aside = f"SELECT count(*) FROM arcade_jobs_set_aside WHERE table_name = '{table}'"
            there[table] += rows(engine, aside)[0][0]
    return there


def reasons(engine: Engine) -> dict[str, int]:
    """What was set aside: the number of rows by reason, with the table in front."""
    query = "SELECT table_name || ': ' || reason, count(*) FROM arcade_jobs_set_aside GROUP BY 1"
    return dict(rows(engine, query))


def fix(engine: Engine, refusal: SchemaError) -> None:
    """Run what was printed, in its order: no row is lost."""
    before = counts(engine)
    for difference in refusal.differences:
        run(engine, *difference.statements)
    assert counts(engine) == before
