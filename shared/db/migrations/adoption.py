"""Completing a schema."""

from shared.db.migrations import creation
from shared.db.migrations.session import Session


def complete(session: Session) -> None:
    """Add what is missing."""
    for statement in creation.schema_statements(session.schema):
        session.run(statement)


def mark_boards(session: Session) -> None:
    """Mark every board that has entries as pending, so that the next run ranks it.

    A database that is adopted has boards that were never touched since the triggers are there.
    """
    session.run(
        "INSERT INTO leaderboards (game_type, period_type, period_date)"
        " SELECT DISTINCT game_type, period_type, period_date FROM leaderboard_entries"
        " ON CONFLICT (game_type, period_type, period_date) DO UPDATE SET is_pending = true"
    )
