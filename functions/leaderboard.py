"""Rank every leaderboard that was touched: hourly."""

from shared.app import JobHandler

handler = JobHandler(job="leaderboard", work=lambda app: app.rank_leaderboards)
