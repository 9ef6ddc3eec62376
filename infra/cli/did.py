"""What a run did, in words."""

from collections.abc import Mapping

from shared.domain.run import RunStatus

UNSHOWN = {"duration_ms", "leaderboards_unchanged", "pools_processed"}  # of a job that has no words of its own below


def describe_counts(job: str, counts: Mapping[str, int], *, status: RunStatus, dry_run: bool = False) -> str:
    """The counts of a run in words: `10 pools settled, 1 error`; nothing while it has none.

    Args:
        job: its name.
        counts: as `count_numbers` has them.
        status: of the run.
        dry_run: whether it says what would happen.
    """
    parts = {"prize-pool": _pools, "leaderboard": _boards, "cleanup": _rows}.get(job, _any)(counts, dry_run=dry_run)
    noted = [plural(counts[name], name.removesuffix("s")) for name in ("errors", "warnings") if counts.get(name)]
    if not parts and not noted and status is RunStatus.SUCCEEDED:
        return "nothing to do"
    return ", ".join([*parts, *noted])


def plural(number: int, noun: str) -> str:
    """`1 pool`, `1,200 pools`, `2 entries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun.removesuffix('y')}ies" if noun.endswith("ry") else f"{number:,} {noun}s"


def _pools(counts: Mapping[str, int], *, dry_run: bool) -> list[str]:
    settled, without = counts.get("pools_finalized", 0), counts.get("pools_without_winner", 0)
    return [
        *([f"{plural(settled, 'pool')} {'to settle' if dry_run else 'settled'}"] if settled else []),
        *([f"{without:,} without a winner"] if without else []),
    ]


def _boards(counts: Mapping[str, int], *, dry_run: bool) -> list[str]:
    boards, ranks = counts.get("leaderboards_processed", 0), counts.get("entries_updated", 0)
    if not boards and not ranks:
        return []
    return [f"{plural(ranks, 'rank')} {'to write ' if dry_run else ''}on {plural(boards, 'board')}"]


def _rows(counts: Mapping[str, int], *, dry_run: bool) -> list[str]:
    sessions, orphans = counts.get("expired_sessions_deleted", 0), counts.get("orphaned_entries_deleted", 0)
    archived, left = counts.get("entries_archived", 0), counts.get("remaining", 0)
    deleted = [
        *([plural(sessions, "session")] if sessions else []),
        *([plural(orphans, "orphaned entry")] if orphans else []),
    ]
    return [
        *([f"{' and '.join(deleted)} {'to delete' if dry_run else 'deleted'}"] if deleted else []),
        *([f"{plural(archived, 'entry')} {'to archive' if dry_run else 'archived'}"] if archived else []),
        *([f"{left:,} left"] if left else []),
    ]


def _any(counts: Mapping[str, int], *, dry_run: bool) -> list[str]:
    """Of a job that was added: its own names; its status says whether it is a dry run."""
    del dry_run
    own = (name for name in counts if counts[name] and name not in {*UNSHOWN, "errors", "warnings"})
    return [f"{name.replace('_', ' ')} {counts[name]:,}" for name in own]
