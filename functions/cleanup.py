"""Remove abandoned sessions and orphaned entries: daily at 03:00."""

from shared.app import JobHandler
from shared.services.cleanup import Cleaner

handler = JobHandler(
    job="cleanup",
    use_case=lambda app: Cleaner(
        transactions=app.transactions,
        zone=app.config.zone,
        session_expiry=app.config.session_expiry,
        orphan_limit_percent=app.config.orphan_limit_percent,
        clock=app.clock,
    ),
)
