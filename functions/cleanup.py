"""Remove abandoned sessions and orphaned entries: daily at 03:00."""

from shared.app import JobHandler

handler = JobHandler(job="cleanup", work=lambda app: app.clean_up)
