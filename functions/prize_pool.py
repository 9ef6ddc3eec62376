"""Settle every prize pool whose period has ended: daily at 00:00."""

from shared.app import JobHandler

handler = JobHandler(job="prize-pool", work=lambda app: app.settle_prize_pools)
