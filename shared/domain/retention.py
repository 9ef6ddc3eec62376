"""How long unfinished sessions are retained (docs/design.md, Cleaning)."""

from datetime import datetime, timedelta


def expiry_cutoff(at: datetime, session_expiry: timedelta) -> datetime:
    """The instant before which an unfinished session is abandoned and an entry without a session is an orphan.

    Both are removed when they were created before it; one created exactly then stays.

    Args:
        at: the run's scheduled time.
        session_expiry: the age that an unfinished session may reach; not negative.
    """
    return at - session_expiry
