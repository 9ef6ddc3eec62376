"""The time zones of the periods (docs/design.md, Time). The statement runs in the caller's transaction."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection, text

_LIST_TIMEZONES = text("SELECT valid_from, timezone FROM arcade_jobs_timezones")


def list_timezones(connection: Connection) -> Mapping[date, str]:
    """The names of the zones, by the first local date on which each is in force."""
    return {row.valid_from: row.timezone for row in connection.execute(_LIST_TIMEZONES)}
