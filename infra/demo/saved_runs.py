"""A file with the run records of a replay, so that `arcade-jobs history --stage demo` can show them later."""

import json
from datetime import datetime
from pathlib import Path

from infra.demo.runs_table import MemoryRunsTable
from shared.domain.errors import NotReachableError
from shared.runs.record import format_instant, parse_instant
from shared.runs.store import RunStore

TABLE_NAME = "arcade-jobs-demo-runs"
SAVED_RUNS = "runs.json"  # in the folder that a replay leaves, which has the name of its stage


def save_runs(table: MemoryRunsTable, path: Path, *, at: datetime) -> None:
    """Write all items of the table to a file, whole or not at all.

    Args:
        table: of the replay.
        path: of the file, JSON.
        at: the wall clock of the runs; they are read as of then.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps({"at": format_instant(at), "items": table.items}), encoding="utf-8")
    unfinished.replace(path)


def open_saved_runs(path: Path) -> RunStore:
    """A store of the runs in a file; what is written to it is not saved.

    Raises:
        NotReachableError: there is no such file, or it cannot be read.
    """
    try:
        saved = json.loads(path.read_bytes())
        at, table = parse_instant(saved["at"]), MemoryRunsTable(saved["items"])
    except FileNotFoundError:
        raise NotReachableError(f"{path}: no runs are saved there; make demo or arcade-jobs simulate does it") from None
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise NotReachableError(
            f"{path}: cannot be read ({error}); make demo or arcade-jobs simulate writes it again"
        ) from None
    return RunStore(client=table.client, table_name=TABLE_NAME, clock=lambda: at)
