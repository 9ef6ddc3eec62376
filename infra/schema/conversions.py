"""What is mechanical: values in another type, or the same value written in another way.

The expressions are written for the server's defaults and for any session: none depends on TimeZone or DateStyle, unless
its note has it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infra.schema.catalog import Column
from infra.schema.quoting import literal, quoted

IN_UTC = "if they were written in UTC"
_FLOAT = ("real", "double precision", "money")
_WHOLE = ("smallint", "integer", "bigint")
ALL_TIME = "date '1970-01-01'"  # the period_date of all-time entries


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A value that follows from the row itself.

    Attributes:
        value: its expression, in the contract's types.
        uses: the columns that it reads.
        constraint: which the table has once it is done: while it has it, no row need be looked at.
        what: what is the matter with rows in which the column has another value.
    """

    value: str
    uses: frozenset[str]
    constraint: str
    what: str


_GAME = "lower(regexp_replace(btrim(game_type), '[ ._-]+', '_', 'g'))"
_PATTERN = "'^[a-z][a-z0-9_]*$'"


def _name(table: str) -> Correction:
    return Correction(
        value=f"CASE WHEN game_type !~ {_PATTERN} AND {_GAME} ~ {_PATTERN} THEN {_GAME} ELSE game_type END",
        uses=frozenset({"game_type"}),
        constraint=f"{table}_game_type_check",
        what="is written in another way",
    )


CORRECTIONS: Mapping[str, Mapping[str, Correction]] = {
    "game_sessions": {
        "game_type": _name("game_sessions"),
        "payment_tx_hash": Correction(
            value="nullif(payment_tx_hash, '')",
            uses=frozenset({"payment_tx_hash"}),
            constraint="game_sessions_payment_tx_hash_key",
            what="is empty instead of NULL",
        ),
    },
    "leaderboard_entries": {
        "game_type": _name("leaderboard_entries"),
        "period_date": Correction(
            value=f"CASE WHEN period_type = 'alltime' THEN {ALL_TIME} ELSE period_date END",
            uses=frozenset({"period_type", "period_date"}),
            constraint="leaderboard_entries_period_date_check",
            what="of all-time entries is not 1970-01-01",
        ),
        "rank": Correction(  # the leaderboard job writes it again
            value="CASE WHEN rank > 0 THEN rank END",
            uses=frozenset({"rank"}),
            constraint="leaderboard_entries_rank_check",
            what="is not positive",
        ),
    },
    "prize_pools": {
        "game_type": _name("prize_pools"),
        "winner_score": Correction(
            value="CASE WHEN coalesce(winner_address, '') = '' AND winner_score = 0 THEN NULL ELSE winner_score END",
            uses=frozenset({"winner_address", "winner_score"}),
            constraint="prize_pools_settled_check",
            what="is 0 without a winner",
        ),
        "winner_address": Correction(
            value="nullif(winner_address, '')",
            uses=frozenset({"winner_address"}),
            constraint="prize_pools_settled_check",
            what="is empty instead of NULL",
        ),
        "payout_tx_hash": Correction(  # a paid pool keeps it: what it should be is not in the row
            value="CASE WHEN status <> 'paid' THEN nullif(payout_tx_hash, '') ELSE payout_tx_hash END",
            uses=frozenset({"status", "payout_tx_hash"}),
            constraint="prize_pools_settled_check",
            what="is empty instead of NULL",
        ),
    },
}


def conversion(table: str, name: str, old: Column, new: Column) -> tuple[str, str]:
    """The value of a column in another type, as an expression, and what to consider.

    An empty text is NULL where the contract allows it; elsewhere it cannot be converted.

    Args:
        table: its name.
        name: of the column.
        old: as it is.
        new: as the contract has it.
    """
    source = f"nullif({name}, '')" if is_text(old.type) and new.type != "text" and not new.is_required else name
    value, note = _converted(source, old.type, new.type)
    if (table, name) == ("leaderboard_entries", "period_date"):  # all-time entries may have any text, such as `all`
        value = f"CASE WHEN period_type::text = 'alltime' THEN {ALL_TIME} ELSE {value} END"
    return value, note


def _converted(value: str, old: str, new: str) -> tuple[str, str]:
    note = ""
    if new.startswith("numeric"):
        value = f"round({value}::numeric, 6)"
        note = "floats may have lost what was paid: compare the sums" if old in _FLOAT else ""
    elif new in _WHOLE:
        value = f"{value}::{new}" if old in _WHOLE else f"round({value}::numeric)::{new}"
        note = "" if old in _WHOLE else "invents: fractions, if there are any, are rounded"
    elif new == "timestamp with time zone":
        value, note = _instant(value, old)
    elif new == "date" and old.startswith("timestamp"):
        value = f"({value} AT TIME ZONE 'UTC')::date" if old.endswith("with time zone") else f"{value}::date"
        note = IN_UTC
    elif new == "uuid" and not is_text(old):
        value = f"{value}::text::uuid"
    else:
        value = f"{value}::{new}"
    return value, note


def _instant(value: str, old: str) -> tuple[str, str]:
    if old.endswith("without time zone"):
        return f"{value} AT TIME ZONE 'UTC'", IN_UTC
    if old == "date":
        return f"{value}::timestamp AT TIME ZONE 'UTC'", IN_UTC
    if is_text(old):
        zoned = r"':\d\d(\.\d+)? ?(Z|[A-Z]{3,4}|[+-]\d\d(:?\d\d)?)$'"
        return f"({value} || CASE WHEN {value} ~ {zoned} THEN '' ELSE ' UTC' END)::timestamptz", IN_UTC
    if old in _WHOLE or old.startswith("numeric") or old in _FLOAT:
        return f"to_timestamp({value} / 1000.0)", "if they are milliseconds since 1970"
    return f"{value}::timestamptz", ""


def is_text(type_: str) -> bool:
    """Whether a type is text of some kind."""
    return type_ in {"text", "citext"} or type_.startswith("character")


def short(type_: str) -> str:
    """A type as people write it."""
    return re.sub(r"^timestamp(\(\d\))? with time zone$", r"timestamptz\1", type_)


def change_type(table: str, name: str, old: Column, new: Column) -> str:
    """ALTER TABLE to another type. A default that the new type may not understand is set again.

    Args:
        table: its name.
        name: of the column.
        old: as it is.
        new: as the contract has it.
    """
    value, _ = conversion(table, name, old, new)
    steps = [f"ALTER COLUMN {name} TYPE {short(new.type)} USING {value}"]
    if old.default is not None and not old.has_sequence:
        steps.insert(0, f"ALTER COLUMN {name} DROP DEFAULT")
        if new.default is not None:
            steps.append(f"ALTER COLUMN {name} SET DEFAULT {new.default}")
    return f"ALTER TABLE {table} {', '.join(steps)}"


def add_numbering(table: str, name: str) -> list[str]:
    """Let a surrogate key number new rows by itself, from the highest that is there."""
    return [
        f"ALTER SEQUENCE IF EXISTS {table}_{name}_seq OWNED BY NONE",
        f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL",
        f"ALTER TABLE {table} ALTER COLUMN {name} ADD GENERATED BY DEFAULT AS IDENTITY",
        f"SELECT {number_from_highest(table, name)}",
    ]


def number_from_highest(table: str, name: str) -> str:
    """What follows SELECT: the next number of a column's own sequence comes after the highest that is there."""
    sequence = f"pg_get_serial_sequence({literal(table)}, {literal(name)})"
    return f"setval({sequence}, max({quoted(name)})) FROM {table}"
