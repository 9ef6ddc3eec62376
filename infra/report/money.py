"""The sections about pools, money and boards."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from infra.deployed.pools import SettledPool
from infra.report import charts
from infra.report.elements import Html, card, figure, section, soft, table, tag
from infra.report.facts import PoolFacts
from infra.report.formats import MINUTE, age, count, usdc, usdc_column

AT_ONCE = 10  # pools; more are folded away
LONG = 14  # characters of a number above which it is smaller


def sections(pools: PoolFacts, *, now: datetime) -> Iterable[Html]:
    """Money and boards, winners, unpaid pools."""
    games = charts.largest_games(pools.days, pools.sizes)
    amount = sum((day.amount_usdc for day in pools.days), Decimal(0))
    oldest = pools.open.oldest_unpaid_at
    waiting = f", the oldest for {age(now - oldest)}" if oldest else ""
    yield section(
        "pools",
        "Pools and money",
        tag(
            "div",
            _number(usdc(amount), f"USDC in {count(sum(day.pools for day in pools.days), 'settled pool')}"),
            _number(usdc(pools.open.unpaid_usdc), f"USDC in {count(pools.open.unpaid, 'unpaid pool')}{waiting}"),
            _number(f"{pools.open.due:,}", "pool due" if pools.open.due == 1 else "pools due"),
            class_="grid",
        ),
        tag("div", _money(pools, games), _boards(pools, games), class_="grid two below"),
    )
    yield section("winners", "Latest winners", _listed(pools.winners, "no winner yet"))
    more = pools.open.unpaid - len(pools.unpaid)
    untold = soft(f"and {more:,} that were settled later") if more > 0 else Html("")
    yield section("unpaid", "Unpaid pools", _listed(pools.unpaid, "every pool with a winner is paid"), untold)


def _number(number: str, what: str) -> Html:
    kind = "number long" if len(number) > LONG else "number"
    return card(tag("div", tag("b", number), tag("span", what, class_="soft"), class_=kind))


def _money(pools: PoolFacts, games: Sequence[str]) -> Html:
    title = "USDC of settled pools, by day and game"
    if not pools.days:
        return card(soft("no pool was settled"), title=title)
    label = "USDC of the pools that were settled, by the last day of their period and by game"
    amounts = usdc_column([day.amount_usdc for day in pools.days])
    rows = [
        (str(day.day), day.game_type, f"{day.pools:,}", f"{day.games:,}", amount)
        for day, amount in zip(pools.days, amounts, strict=True)
    ]
    numbers = table(label, ("day", "game", "pools", "games", "USDC"), rows)
    return figure(title, charts.draw_money(pools.days, games, label=label), label=label, numbers=numbers)


def _boards(pools: PoolFacts, games: Sequence[str]) -> Html:
    title = "Entries of the daily boards"
    daily = [size for size in pools.sizes if size.board.period_type == "daily"]
    alltime = [size for size in pools.sizes if size.board.period_type == "alltime"]
    if not daily:
        return card(soft("no board was ranked"), title=title)
    label = "Entries of each daily board when it was last ranked"
    rows = [(str(size.board.period_date), size.board.game_type, f"{size.entries:,}") for size in daily]
    return figure(
        title,
        charts.draw_boards(daily, games, label=label),
        soft(f"All-time: {', '.join(f'{size.board.game_type} {size.entries:,}' for size in alltime) or 'none'}"),
        label=label,
        numbers=table(label, ("day", "game", "entries"), rows),
    )


def _listed(pools: Sequence[SettledPool], empty: str) -> Html:
    if not pools:
        return card(soft(empty))
    first, rest = pools[:AT_ONCE], pools[AT_ONCE:]
    if not rest:
        return card(_table(first))
    return card(_table(first), tag("details", tag("summary", count(len(rest), "more pool")), _table(rest)))


def _table(pools: Sequence[SettledPool]) -> Html:
    amounts = usdc_column([pool.amount_usdc for pool in pools])
    rows = [
        (
            f"{pool.board.game_type}, {pool.board.period_type} {pool.board.period_date}",
            tag("span", pool.winner_address or "none", class_="mono"),
            "" if pool.winner_score is None else f"{pool.winner_score:,}",
            f"{pool.games:,}",
            amount,
            f"{pool.finalized_at:{MINUTE}}",
            pool.status,
        )
        for pool, amount in zip(pools, amounts, strict=True)
    ]
    return table("Pools", ("pool", "winner", "score", "games", "USDC", "settled", "status"), rows, stacks=True)
