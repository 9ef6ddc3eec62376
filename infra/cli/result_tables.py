"""One run as tables: what went wrong and what to do, winners and amounts, counts, who asked and why, attempts.

They are made of the result as JSON (docs/design.md, Contract), which is what a function returns and a run stores.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from infra.cli.did import describe_counts, plural
from infra.cli.tables import STYLES, table_of, took
from infra.cli.terminal import printable
from shared.domain.periods import PeriodType
from shared.domain.run import RunStatus
from shared.domain.tick import Trigger
from shared.runs.record import count_numbers

Item = Mapping[str, Any]
LISTS = {"errors", "warnings", "finalized_pools", "leaderboards"}  # of a result, with tables of their own


def run_tables(run: Item, *, options: str, between: str = "\n") -> Iterator[RenderableType]:
    """What is to be printed of a run, in order, with an empty line between its parts.

    Args:
        run: a result, and `attempts` if they are known.
        options: those by which a command finds the deployment, such as ` --stage prod`.
        between: what is between the parts of a cell: a pool has two lines on a terminal, and one when it is piped.
    """
    result = run.get("result") or {}
    status = RunStatus(run["status"])
    yield Text.assemble((f"{run['run_id']}: {status}", STYLES[status]), _remarks(run), "\n")
    if errors := result.get("errors"):
        yield from (_problems(errors, "error", between, title=_title("errors", result)), "")
    if status not in {RunStatus.SUCCEEDED, RunStatus.RUNNING}:
        yield Text(f"What to do: {advice(run, options=options)}\n")
    if warnings := result.get("warnings"):
        yield from (_problems(warnings, "warning", between, title=_title("warnings", result)), "")
    if pools := result.get("finalized_pools"):
        yield from (_pools(pools, between, title=_title("finalized_pools", result)), "")
    if boards := result.get("leaderboards"):
        yield from (_boards(boards, title=_title("leaderboards", result)), "")
    yield _facts(_counts(run, result) | _request(run))
    attempts = run.get("attempts", ())
    if len(attempts) > 1 or any(attempt.get("error") for attempt in attempts):
        yield from ("", _attempts(attempts))


def advice(run: Item, *, options: str) -> str:
    """What to do about a run that did not succeed, in one line that can be typed from."""
    job, dry_run = run["job"], run.get("dry_run")
    at = f" --at {run['scheduled_at'][:16]}:00Z" if _has_slot(run) else ""
    again = f"arcade-jobs trigger {job}{at}{' --dry-run' if dry_run else ''}{options}"
    first = "mend what the errors name, then" if (run.get("result") or {}).get("errors") else "nothing is lost;"
    if run["trigger"] == Trigger.SCHEDULED:
        return (
            f"{first} wait for the retry, or run it now: {again}. Once the event is dead-lettered: "
            f"arcade-jobs dead-letters redrive {job}{options}. What succeeded is not done again."
        )
    return f"{first} run it again: {again}. What succeeded is not done again."


def _has_slot(run: Item) -> bool:
    """Whether its id is that of a slot."""
    return bool(run["run_id"] == f"{run['job']}:{run['scheduled_at'][:16]}Z")


def _remarks(run: Item) -> str:
    """What is unusual about it."""
    remarks = {
        "a dry run: nothing was changed": run.get("dry_run"),
        "nothing was left to do; this is what the run did before": run.get("duplicate"),
        f"attempt {run['attempt']}": run["attempt"] > 1,
    }
    return "".join(f", {remark}" for remark, applies in remarks.items() if applies)


def _title(name: str, result: Item) -> str:
    """The name of a list, with its true length if it was cut."""
    title, shown = name.replace("_", " ").capitalize(), len(result[name])
    length = result.get("cut", {}).get(name, shown)
    return title if length == shown else f"{title}: the first {shown:,} of {length:,}; the log has all"


def _where(item: Item, between: str) -> str:
    """The pool, the board or the step that an error names."""
    pool = f"pool {item['pool_id']}" if "pool_id" in item else ""
    board = " ".join(str(item[name]) for name in ("period_type", "period_date") if item.get(name))
    return between.join(part for part in (pool, item.get("game_type"), board, item.get("step")) if part) or "the run"


def _problems(found: Sequence[Item], name: str, between: str, *, title: str) -> Table:
    table = table_of("where", "what", title=title)
    for item in found:
        table.add_row(
            _where(item, between),
            Text(printable(str(item.get(name, ""))), style="red" if name == "error" else "yellow"),
        )
    return table


def _pools(pools: Sequence[Item], between: str, *, title: str) -> Table:
    names = ("pool", "winner, score", "USDC, games")
    table = table_of(*names, whole=names[1:], right=names[2:], title=title)
    for pool in pools:
        score = [] if pool.get("winner_score") is None else [f"score {pool['winner_score']}"]
        table.add_row(
            f"{pool['game_type']}{between}{pool['period_type']} {pool['period_date']}",
            between.join(
                [
                    pool.get("winner_address") or "no winner",
                    ", ".join([*score, *(["late"] if pool.get("late") else [])]),
                ]
            ),
            f"{pool['total_amount_usdc']}{between}{plural(pool['total_games'], 'game')}",
        )
    return table


def _boards(boards: Sequence[Item], *, title: str) -> Table:
    table = table_of("game", "period", "ranks written", "", right=("ranks written",), title=title)
    for board in boards:
        dated = board["period_type"] != PeriodType.ALLTIME
        table.add_row(
            board["game_type"],
            f"{board['period_type']} {board['period_date']}" if dated else board["period_type"],
            f"{board['entries_updated']:,}",
            "" if board.get("complete", True) else Text("not finished", style="yellow"),
        )
    return table


def _counts(run: Item, result: Item) -> dict[str, str]:
    """Every number of the result, and what it comes to in words."""
    status = RunStatus(run["status"])
    did = describe_counts(run["job"], count_numbers(result), status=status, dry_run=run.get("dry_run", False))
    numbers = {
        name.replace("_", " "): f"{value:,}" if isinstance(value, int) else "not known" if value is None else str(value)
        for name, value in result.items()
        if name not in LISTS and name not in {"cut", "duration_ms"} and not isinstance(value, list | dict)
    }
    return {"did": did, **numbers} if did else numbers


def _request(run: Item) -> dict[str, str]:
    """Who asked and why, the slot and the times."""
    facts = {
        "triggered": "by its schedule"
        if run["trigger"] == Trigger.SCHEDULED
        else f"by hand, {run.get('actor') or 'unknown'}",
        "reason": run.get("reason"),
        "slot" if _has_slot(run) else "as of": _shown(run["scheduled_at"]),
        "started": _shown(run.get("started_at")),
        "finished": _shown(run.get("finished_at")),
        "took": took(run.get("duration_ms")),
    }
    return {name: value for name, value in facts.items() if value}


def _facts(facts: Mapping[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name, Text(printable(value)))
    return table


def _attempts(attempts: Sequence[Item]) -> Table:
    whole = ("", "started (UTC)", "finished", "status")
    table = table_of(*whole, "error", whole=whole, right=("",), title="Attempts")
    for attempt in attempts:
        status = RunStatus(attempt["status"])
        finished = attempt.get("finished_at")
        table.add_row(
            str(attempt["number"]),
            attempt["started_at"][:19].replace("T", " "),
            finished[11:19] if finished else "",
            Text(str(status), style=STYLES[status]),
            Text(printable(attempt.get("error", ""))),
        )
    return table


def _shown(instant: str | None) -> str:
    """An instant of the contract, to the second."""
    return f"{instant[:19].replace('T', ' ')} UTC" if instant else ""
