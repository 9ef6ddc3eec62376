"""The ids of runs as a person types them: any part that begins only one of them."""

import re

from shared.domain.errors import ArcadeJobsError, BadInputError
from shared.runs.record import RunRecord
from shared.runs.store import RunStore

SLOT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")
REQUEST_CHARACTERS = 8  # of a request id: enough to be the only one of a stage
MAX_CANDIDATES = 5  # that fit on a line


def short_id(run_id: str) -> str:
    """The id of a run for a table: of a slot whole, else the job and the beginning of the request id."""
    job, _, rest = run_id.partition(":")
    return run_id if SLOT.fullmatch(rest) else f"{job}:{rest[:REQUEST_CHARACTERS]}"


def find_run(store: RunStore, given: str) -> RunRecord:
    """The run of an id, or of the beginning of one, with or without its job.

    Raises:
        BadInputError: it begins several ids.
        ArcadeJobsError: there is no such run.
        RunStoreError: the table cannot be reached.
    """
    if ":" in given and (record := store.get(given)):
        return record
    match store.find_ids(given):
        case [only] if record := store.get(only):
            return record
        case []:
            raise ArcadeJobsError(f"RUN_ID: there is no run {given!r}; arcade-jobs history lists what there is")
        case found:
            # A request id begins with what others do: as much of it is shown as tells them apart.
            shown = ", ".join(found[:MAX_CANDIDATES])
            more = f" and {len(found) - MAX_CANDIDATES} more" if len(found) > MAX_CANDIDATES else ""
            raise BadInputError(f"RUN_ID: {given!r} begins {len(found)} runs: {shown}{more}")
