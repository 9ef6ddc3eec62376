"""Every table of runs is whole at 80 columns: nothing is cut, no line is longer; piped, a run is one line."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from infra.cli.did import describe_counts
from infra.cli.result_tables import run_tables
from infra.cli.tables import runs_table, statistics_table
from infra.cli.terminal import UNFOLDED, err, out, print_json
from shared.domain.run import RunStatus
from shared.operations.statistics import JobStatistics
from shared.runs.record import RunRecord

AT = datetime(2026, 1, 12, tzinfo=UTC)
ADDRESS = "0x" + "8Ab3" * 10  # as long as they are: 42 characters
AMOUNT = "123456789012.123456"  # numeric(18,6)
SCORE = 9_223_372_036_854_775_807 // 10
GAME = "the_longest_name_that_anybody_gave_to_a_game_of_skill_in_this_arcade_so_far_and_ever"
ERROR = "numeric field overflow: " + "a field with precision 18, scale 6 must round to less than 10^12; " * 4
POOL = {"pool_id": 9_223_372_036_854_775_807, "game_type": GAME, "period_type": "weekly", "period_date": "2026-01-05"}


def draw(*parts: RenderableType, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    for part in parts:
        console.print(part)
    return console.file.getvalue()  # type: ignore[attr-defined]


def a_run(run_id: str, status: RunStatus, counts: dict[str, int], *, trigger: str = "manual") -> RunRecord:
    return RunRecord(
        run_id=run_id,
        job=run_id.partition(":")[0],
        trigger=trigger,
        scheduled_at=AT,
        status=status,
        attempt=12,
        started_at=AT,
        finished_at=AT + timedelta(minutes=15),
        counts=counts,
        deadline_at=AT + timedelta(minutes=15),
        dry_run=trigger == "manual",
    )


def history(between: str = "\n") -> RenderableType:
    many = 123_456_789
    request = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    pools = {"pools_finalized": many, "pools_without_winner": many, "errors": many, "warnings": many}
    rows = {"expired_sessions_deleted": many, "orphaned_entries_deleted": many, "remaining": many, "errors": many}
    return runs_table(
        [
            a_run("leaderboard:2026-01-12T00:00Z", RunStatus.INCOMPLETE,
                  {"leaderboards_processed": many, "entries_updated": many, "errors": many}, trigger="scheduled"),
            a_run(f"prize-pool:{request}", RunStatus.SUCCEEDED, pools),
            a_run(f"cleanup:{request}", RunStatus.ABANDONED, rows),
        ],
        between=between,
    )  # fmt: skip


def statistics() -> RenderableType:
    return statistics_table(
        [
            JobStatistics(
                job=job,
                runs=123_456,
                dry_runs=123_456,
                by_status=Counter(dict.fromkeys(RunStatus, 123_456)),
                success_rate=0.99999,
                p50_ms=899_999,
                p95_ms=899_999,
                p99_ms=899_999,
                longest_ms=899_999,
                last_success_at=AT,
                missed=[AT] * 9_600,
            )
            for job in ("cleanup", "leaderboard", "prize-pool")
        ]
    )


RESULTS: dict[str, Any] = {
    "prize-pool": {
        "pools_processed": 2,
        "pools_finalized": 1,
        "pools_without_winner": 0,
        "finalized_pools": [
            POOL
            | {"winner_address": ADDRESS, "winner_score": SCORE, "total_amount_usdc": AMOUNT}
            | {"total_games": 2_147_483_647, "late": True}
        ],
        "warnings": [POOL | {"warning": f"no valid entry: settled without a winner, {AMOUNT} USDC kept"}],
        "errors": [POOL | {"error": ERROR}],
        "cut": {"errors": 12_345},
    },
    "leaderboard": {
        "leaderboards_processed": 15,
        "entries_updated": 123_456_789,
        "leaderboards": [POOL | {"entries_updated": 123_456_789, "complete": False}],
        "errors": [POOL | {"error": ERROR}],
    },
    "cleanup": {
        "expired_sessions_deleted": 123_456_789,
        "expired_amount_usdc": AMOUNT,
        "orphaned_entries_deleted": 0,
        "remaining": None,
        "errors": [{"step": "orphaned entries", "error": ERROR}],
    },
}


def a_result(job: str) -> list[RenderableType]:
    attempts = [
        {"number": number, "started_at": "2026-01-12T00:00:00.000000Z", "status": status, "error": ERROR}
        for number, status in enumerate(["abandoned", "incomplete", "partial"], start=10)
    ]
    run = {
        "run_id": f"{job}:2026-01-12T00:00Z",
        "job": job,
        "trigger": "manual",
        "scheduled_at": "2026-01-12T00:00:00.000000Z",
        "status": "partial",
        "duplicate": True,
        "attempt": 12,
        "started_at": "2026-01-12T00:00:00.000000Z",
        "finished_at": "2026-01-12T00:15:00.000000Z",
        "duration_ms": 900_000,
        "actor": "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_AdministratorAccess/" + "o" * 64,
        "reason": "why " * 100,
        "result": RESULTS[job],
        "attempts": attempts,
    }
    return list(run_tables(run, options=" --stage production-eu --profile arcade --region eu-central-1"))


def screens() -> Iterator[tuple[str, Callable[[], list[RenderableType]]]]:
    yield "history", lambda: [history()]
    yield "stats", lambda: [statistics()]
    for job in RESULTS:
        yield job, lambda job=job: a_result(job)  # type: ignore[misc]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("screen", [pytest.param(screen, id=name) for name, screen in screens()])
def test_no_value_is_cut_and_no_line_is_longer_than_the_terminal(
    screen: Callable[[], list[RenderableType]], width: int
) -> None:
    drawn = draw(*screen(), width=width)
    assert "…" not in drawn
    assert max(map(len, drawn.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120, UNFOLDED])
def test_money_scores_addresses_and_ids_are_on_one_line(width: int) -> None:
    drawn = draw(*a_result("prize-pool"), width=width)
    table = drawn[drawn.index("Finalized pools") : drawn.index("pools processed")]
    for value in (ADDRESS, AMOUNT, str(SCORE), "2,147,483,647 games"):
        assert value in table
    assert "prize-pool:2026-01-12T00:00Z" in drawn


@pytest.mark.parametrize("width", [80, 120, UNFOLDED])
def test_no_word_of_a_history_is_folded(width: int) -> None:
    words = draw(history(), width=width).split()
    for word in ("leaderboard:2026-01-12T00:00Z", "prize-pool:0f1e2d3c", "cleanup:0f1e2d3c", "incomplete,",
                 "abandoned,", "900.0", "123,456,789", "orphaned", "warnings"):  # fmt: skip
        assert word in words


def test_a_run_that_is_piped_is_one_line() -> None:
    [line] = [line for line in draw(history(" "), width=UNFOLDED).splitlines() if "prize-pool" in line]
    assert " ".join(line.split()) == (
        "prize-pool:0f1e2d3c succeeded, dry run, attempt 12 01-12 00:00 900.0 s 123,456,789 pools to settle,"
        " 123,456,789 without a winner, 123,456,789 errors, 123,456,789 warnings"
    )


def test_errors_come_first_then_what_to_do_then_winners_then_counts_then_who_asked_then_attempts() -> None:
    drawn = draw(*a_result("prize-pool"), width=120)
    places = [
        drawn.index(what)
        for what in ("precision 18", "What to do", "no valid entry", ADDRESS, "pools finalized", "by hand", "Attempts")
    ]
    assert places == sorted(places)
    assert "the first 1 of 12,345" in drawn
    assert "arcade-jobs trigger prize-pool --at 2026-01-12T00:00:00Z --stage production-eu" in " ".join(drawn.split())


@pytest.mark.parametrize(
    ("job", "counts", "words"),
    [
        ("prize-pool", {"pools_processed": 10, "pools_finalized": 10, "errors": 0}, "10 pools settled"),
        ("prize-pool", {"pools_finalized": 1, "pools_without_winner": 1, "errors": 0},
         "1 pool settled, 1 without a winner"),
        ("prize-pool", {"pools_processed": 20, "pools_finalized": 19, "errors": 1}, "19 pools settled, 1 error"),
        ("prize-pool", {"pools_finalized": 0, "warnings": 2, "errors": 0}, "2 warnings"),
        ("prize-pool", {"pools_finalized": 0, "errors": 0}, "nothing to do"),
        ("leaderboard", {"leaderboards_processed": 3, "entries_updated": 4213, "duration_ms": 9, "errors": 0},
         "4,213 ranks on 3 boards"),
        ("leaderboard", {"leaderboards_processed": 0, "leaderboards_unchanged": 15, "errors": 0}, "nothing to do"),
        ("cleanup", {"expired_sessions_deleted": 3, "orphaned_entries_deleted": 12, "errors": 0},
         "3 sessions and 12 orphaned entries deleted"),
        ("cleanup", {"expired_sessions_deleted": 1, "orphaned_entries_deleted": 1, "remaining": 7, "errors": 0},
         "1 session and 1 orphaned entry deleted, 7 left"),
        ("heartbeat", {"beats": 3, "duration_ms": 9, "errors": 0}, "beats 3"),
    ],
)  # fmt: skip
def test_what_a_run_did_is_said_in_words(job: str, counts: dict[str, int], words: str) -> None:
    assert describe_counts(job, counts, status=RunStatus.SUCCEEDED) == words


def test_what_a_dry_run_would_do_is_not_said_to_be_done() -> None:
    def would(job: str, **counts: int) -> str:
        return describe_counts(job, counts, status=RunStatus.SUCCEEDED, dry_run=True)

    assert would("prize-pool", pools_finalized=2) == "2 pools to settle"
    assert would("leaderboard", leaderboards_processed=1, entries_updated=1) == "1 rank to write on 1 board"
    assert would("cleanup", expired_sessions_deleted=2) == "2 sessions to delete"


def test_a_run_that_has_not_ended_or_was_killed_did_nothing_that_is_known() -> None:
    for status in (RunStatus.RUNNING, RunStatus.ABANDONED, RunStatus.FAILED):
        assert describe_counts("cleanup", {}, status=status) == ""


def test_text_that_others_wrote_is_shown_as_it_is() -> None:
    for console in (out, err):
        with console.capture() as shown:
            console.print("[/x] [red]7[/red] :id:")
        assert shown.get() == "[/x] [red]7[/red] :id:\n"


def test_json_of_text_that_is_no_unicode_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"actor": "\ud800"})
    assert capsys.readouterr().out.encode() == b'{\n  "actor": "\\ud800"\n}\n'
