"""What revision 0003 refuses or corrects, counted among the entries that were written last: so it is known before."""

from collections.abc import Iterator

from infra.schema.differences import Difference, warning
from infra.schema.quoting import quoted
from infra.schema.revisions import NOTHING, steps_after

LAST = 10_000  # entries that are counted, each with its session by key: some 50 ms, however many are stored
_CHECK = " TRIGGER arcade_jobs_check_insert "


def is_due(version: str | None, schema: str) -> bool:
    """Whether entries are still to be checked in tables of the first revision or a later one.

    Args:
        version: what the version table reads.
        schema: where the tables are.
    """
    if version is None or version.startswith(NOTHING):
        return False
    return any(_CHECK in step.statement for step in steps_after(version, schema))


def counts(schema: str) -> str:
    """A query for how many entries are counted, are not backed, and have another time than their session: all text."""
    home = quoted(schema)
    # OFFSET 0 keeps the server from joining with a scan of all sessions.
    return f"""
SELECT CAST(count(*) AS text), CAST(count(*) FILTER (WHERE session.completed_at IS NULL) AS text),
       CAST(count(*) FILTER (WHERE session.completed_at <> entry.created_at) AS text)
FROM (SELECT * FROM {home}.leaderboard_entries ORDER BY id DESC LIMIT {LAST}) AS entry
LEFT JOIN LATERAL (
    SELECT completed_at FROM {home}.game_sessions AS played
    WHERE played.id = entry.session_id AND played.status = 'completed'
      AND (played.player_address, played.game_type, played.score)
        = (entry.player_address, entry.game_type, entry.score)
    OFFSET 0) AS session ON true
"""  # noqa: S608 - a quoted name


def warnings(counted: int, unbacked: int, corrected: int) -> Iterator[Difference]:
    """What was counted, in the order of the columns of `counts`."""
    of = f"of the last {counted:,} rows"
    if unbacked:
        yield warning(
            "leaderboard_entries",
            f"has {unbacked:,} {of} without a completed session of the same player, game and score:"
            " such an entry is refused (AJ002) from revision 0003 on",
        )
    if corrected:
        yield warning(
            "leaderboard_entries",
            f"has {corrected:,} {of} with another created_at than their session's completed_at:"
            " it is corrected from revision 0003 on",
        )
