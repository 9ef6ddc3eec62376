"""How long unfinished sessions are retained, and when nothing is removed (docs/design.md, Cleaning)."""

from datetime import datetime, timedelta

ORPHANS_ALWAYS_REMOVED = 100  # of one board: too few to be a purge, whatever their share of a small board


def expiry_cutoff(at: datetime, session_expiry: timedelta) -> datetime:
    """The instant before which an unfinished session is abandoned and an entry without a session is an orphan.

    Both are removed when they were created before it; one created exactly then stays.

    Args:
        at: the run's scheduled time.
        session_expiry: the age that an unfinished session may reach; not negative.
    """
    return at - session_expiry


def is_purge(orphans: int, *, entries: int, limit_percent: int) -> bool:
    """Whether so many of a board's entries lost their session that it is a mistake until somebody accepts it (S28).

    Args:
        orphans: those that lost it.
        entries: all of the board's, or all that were read of it.
        limit_percent: the share from which on none is removed; 0 to 100.
    """
    return orphans > ORPHANS_ALWAYS_REMOVED and orphans * 100 > entries * limit_percent
