"""The schema of the database: frozen revisions, the adoption of a platform's own tables, roles and rights.

`upgrade` and `check` work over a connection, `data_api` does the same through the RDS Data API.
"""

from infra.schema.differences import Difference, Kind, SchemaError, UpgradeError
from infra.schema.upgrade import UTC, check, upgrade

__all__ = ["UTC", "Difference", "Kind", "SchemaError", "UpgradeError", "check", "upgrade"]
