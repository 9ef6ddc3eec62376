"""Rank every leaderboard that was touched since it was last ranked: hourly."""

from shared.app import JobHandler
from shared.services.leaderboard import LeaderboardRanker

handler = JobHandler(
    job="leaderboard",
    use_case=lambda app: LeaderboardRanker(transactions=app.transactions, zone=app.config.zone, clock=app.clock),
)
