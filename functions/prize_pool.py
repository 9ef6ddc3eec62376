"""Settle every prize pool whose period has ended: daily at 00:00."""

from shared.app import JobHandler
from shared.services.prize_pool import PrizePoolSettler

handler = JobHandler(
    job="prize-pool",
    use_case=lambda app: PrizePoolSettler(
        transactions=app.transactions,
        zone=app.config.zone,
        grace=app.config.settlement_grace,
        game_types=app.config.game_types,
        clock=app.clock,
        sleep=app.sleep,
    ),
)
