"""What the batches of cleanup share (docs/design.md, Cleaning)."""

from sqlalchemy import Connection, text

# S12, S17: the planner would read the whole table for each batch, to hash it (with fresh statistics) or to sort it
# (with old ones). The index has the order, and the ids are probed one by one.
_WALK_BY_KEY = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)
""")


def walk_by_key(connection: Connection) -> None:
    """Let this transaction follow indexes only."""
    connection.execute(_WALK_BY_KEY)


_IS_COMMITTED = text("SELECT pg_xact_status(CAST(CAST(:transaction AS text) AS xid8)) IS NOT DISTINCT FROM 'committed'")


def is_committed(connection: Connection, transaction: str) -> bool:
    """Whether a transaction of this server has committed."""
    committed: bool = connection.execute(_IS_COMMITTED, {"transaction": transaction}).scalar_one()
    return committed
