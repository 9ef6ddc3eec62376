"""What came of a replay: as tables for a terminal, and as JSON."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.cli.tables import runs_table, statistics_table
from infra.demo.platform import Entry, Pool
from infra.deployed.statistics import JobStatistics
from shared.domain.periods import PeriodType
from shared.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a replay ended.

    Attributes:
        seconds: that it took, after everything was set up.
        pools: all of them, the earliest end first.
        leaders: the top of each all-time board.
        last_runs: the latest first.
        statistics: of all runs.
        differences: pools that are not as they should be, one line each.
    """

    seconds: float
    pools: list[Pool]
    leaders: list[Entry]
    last_runs: list[RunRecord]
    statistics: list[JobStatistics]
    differences: list[str]

    def to_json(self) -> dict[str, Any]:
        """The report, JSON-ready."""
        return {
            "seconds": round(self.seconds, 1),
            "differences": self.differences,
            "pools": [pool.to_json() for pool in self.pools],
            "leaders": [entry.to_json() for entry in self.leaders],
            "last_runs": [record.to_json() | {"counts": record.counts} for record in self.last_runs],
            "statistics": [of_job.to_json() for of_job in self.statistics],
        }

    def print_to(self, console: Console, *, left_in: Path) -> None:
        """Print the tables, the verdict, and what to try next.

        Args:
            console: where to.
            left_in: the folder in which the replay left its files.
        """
        console.print(self._winners(), self._leaders(), runs_table(self.last_runs), statistics_table(self.statistics))
        settled = [pool for pool in self.pools if pool.status == "finalized"]
        by_time = sum(pool.equal_scores > 1 for pool in settled)
        runs = sum(of_job.runs for of_job in self.statistics)
        console.print(
            f"{runs} runs in {self.seconds:.0f} s settled {len(settled)} pools, {by_time} of them by the earlier time."
        )
        for difference in self.differences:
            console.print(f"[red]not as expected:[/red] {difference}", soft_wrap=True)
        if not self.differences:
            console.print("[green]Every pool is exactly as expected.[/green]")
        console.print(
            f"""
All winners: {left_in / "winners.csv"}   what the jobs logged: {left_in / "jobs.log"}
Try next:
  .venv/bin/arcade-jobs show prize-pool:2026-01-12T00:00Z --stage demo   a run with its whole result
  .venv/bin/arcade-jobs history cleanup --limit 5 --stage demo           the last runs of a job
  .venv/bin/arcade-jobs stats --stage demo --json                        for other programs
  make test                                                              the whole test suite""",
            highlight=False,
            soft_wrap=True,
        )

    def _winners(self) -> Table:
        """The pools of each week, and those of the last day."""
        weekly = [pool for pool in self.pools if pool.settlement.period.type is PeriodType.WEEKLY]
        daily = [pool for pool in self.pools if pool.settlement.period.type is PeriodType.DAILY]
        shown = [*weekly, *(pool for pool in daily if pool.settlement.period == daily[-1].settlement.period)]
        table = Table(title="Winners of each week and of the last day; time (n): the earliest of n equal scores")
        for name in ("period", "game", "winner", "score", "decided by", "games", "USDC"):
            table.add_column(name, justify="right" if name in {"score", "games", "USDC"} else "left", no_wrap=True)
        for period, pools in groupby(shown, key=lambda pool: pool.settlement.period):
            is_week = period.type is PeriodType.WEEKLY
            days = (f"{period.date:%d}-" if is_week else "") + f"{period.date + timedelta(days=6 * is_week):%d %b}"
            for pool in pools:
                settlement = pool.settlement
                table.add_row(
                    days,
                    settlement.game_type,
                    _shortened(settlement.winner_address) if settlement.winner_address else "nobody",
                    "" if settlement.winner_score is None else str(settlement.winner_score),
                    f"time ({pool.equal_scores})" if pool.equal_scores > 1 else "score",
                    str(settlement.total_games),
                    f"{settlement.total_amount_usdc:.3f}",
                )
            table.add_section()
        return table

    def _leaders(self) -> Table:
        table = Table(title="All-time leaders")
        for name in ("game", "rank", "player", "score", "reached (UTC)"):
            table.add_column(name, justify="right" if name in {"rank", "score"} else "left", no_wrap=True)
        for game_type, entries in groupby(self.leaders, key=lambda entry: entry.game_type):
            for entry in entries:
                reached = f"{entry.created_at:%Y-%m-%d %H:%M:%S}"
                player = _shortened(entry.player_address)
                table.add_row(game_type, str(entry.rank), player, str(entry.score), reached)
            table.add_section()
        return table


def _shortened(address: str) -> str:
    """As wallets show it."""
    return f"{address[:6]}…{address[-4:]}"
